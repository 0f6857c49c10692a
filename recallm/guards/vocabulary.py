"""General words: exchanging one for another seldom changes what is asked for."""

from __future__ import annotations

FRAME = frozenset(
    """
    a an the some this that these those there here it its itself of at by for from to in into on onto with within about as
    and or but if so than then too just very really actually also well any somebody someone something anything anyone
    please kindly pls plz thanks thank thx ty cheers hi hello hey dear sorry excuse greetings question questions query
    quick quickly ok okay now right asap urgent urgently immediately possible possibly maybe perhaps hopefully simply
    i me we us you one ones be am is are was were been being do does did done doing have has had having can could would
    will shall should may might must ought get gets getting got gotten make makes making made take takes taking took go
    goes going went gone come comes coming came use uses using used want wants wanted wanna need needs needed needing
    like know knows knowing tell tells telling told show shows showing showed shown give gives giving gave given
    find finds finding found see sees seeing saw seen say says saying said let lets help helps helping helped try tries
    trying tried explain explains explained describe describes list lists what which how who whom whose when where why
    way ways best good better great thing things stuff kind kinds sort sorts type types example examples think
    thinking thought consider considered mean means meaning meant called own out up off over ever even much many lot
    lots wondering wonder wondered looking look looks idea ideas tip tips advice guide guidance tutorial instructions
    such per via etc exactly properly correctly currently presently today nowadays still already again yet able
    ve re ll s d m t em im ur u r n pls gonna gotta lemme somehow basically generally usually normally typically
    yo hiya howdy bro dude btw fyi ive id youre theyre whos
    case cases happen happens happened happening work works working worked exist exists possibility chance
    your my our their his her hers yours ours theirs mine he she they him them myself yourself himself themselves
    through along around across between among during while because since whether either both each another other others
    certain specific particular various different several few bit little kinda sorta anyhow anyway wish hope love
    someone's anyone's guys folks everybody people person persons others ask asking asked tell answer answers answered
    know-how step steps process procedure method methods approach approaches technique techniques manner means
    recommend recommends recommended recommendation recommendations suggest suggests suggested suggestion suggestions
    """.split()
)
"""Words that frame a request and are left out of comparisons of what it is about."""

GENERAL = frozenset(
    """
    accept access achieve act action active activity actual add advise affect afford agree aim allow allowed alternative
    amazing amount appear apply appropriate area arrange arrive aspect assist assistance attempt available avoid aware
    awesome base based basic become begin behave behind believe belong big bigger biggest bring broken build
    built business busy calculate care carry cause caused change changed changes changing check choose choosing
    chosen clear clearly clever close common commonly complete completely concept concern condition conduct confirm
    connect connection consist contain contains continue control convenient cool correct couple cover covered
    crazy create created creating creation critical crucial current daily deal decent decide decision decisions deep
    define defined definition deliver depend depends derive desire detail detailed details determine develop
    developed developing development differ difference differences differentiate differently difficult difficulty
    direct directly discover discuss display distinguish distinction doable dream drop duration earn easier
    easiest easily easy effect effective effectively efficient efficiently effort elaborate eliminate employ enable
    encounter end ensure enter entire equal especially essential essentially establish estimate eventually every
    everyday everything evidence evil exact exceed excellent exchange exciting expect expected experience
    experienced explanation express extra extremely face fact factor factors facts fail fair fairly familiar famous
    fantastic far fast faster fastest favorite favourite feature features feel feeling figure fine finish fit fix
    fixed follow following force form format former forms frequent frequently fresh full fully fun function
    functioning fundamental funny further future gain general generate genuine goal grow guess handle handy hard
    harder hardest harm head hear heard hidden highly hold holds huge ideal identify illustrate imagine impact
    implement implication implications important importance impress impressive improve improved improvement include
    included includes including increase indicate influence inform information initial insane inspire intend
    intended intention interest interested interesting introduce invent involve involved issue issues item items
    journey keep keeps kept key lead leading leads learn learned learning learnt least leave led level life lifetime
    likely limit line link linked live lives living located location long longer maintain major majority manage
    managed mandatory matter matters maximize meet member mention mentioned mind minor miss missing mistake mistakes
    modern moment motivate motivation move moving mysterious name named names natural nature near nearest
    nearby necessarily necessary neat needful nice normal notable note notice noticed object objective observe obtain obtained
    obvious obviously occur occurs occurred offer offered offers often open operate opinion opinions opportunity
    option options order ordinary organize origin original originally outcome overall overcome own part participate
    particularly parts pass perfect perfectly perform performed performing person perspective pick picked piece
    place places plan planning play point points popular position possess potential powerful practical practically
    practice prefer preferable preferably preferred prepare prepared presence present pretty prevent previously
    primary prior probability probable probably problem problems proceed produce produced producing product
    programme progress proof proper proposed prove provide provided provider providers provides pull purchase purpose
    purposes pursue pursuing put putting quality quit quite quote raise range rapid rapidly rare rate rather reach reaching
    reaction ready real realistic realize really reason reasonable reasons receive received recently recognize refer
    reference regard regarding regardless regular regularly relate related relation relationship relative relatively
    relevant rely remain remarkable remember require required requirement requirements requires resolve resource
    resources respond response result results return reveal rid rise role run running runs safe same sample save
    scenario secret seek seem seems select selected send sense serious seriously serve set sets setting setup several
    share shared significance significant significantly similar similarity simple simpler simplest single
    situation situations size skill skills slow small smart smooth solution solutions solve solved solving sound source sources space
    speak special spend spent spot stand standard start started starting starts state stated stay stick strange
    strategies strategy strengthen strong structure struggle stuff subject succeed success successful successfully
    sudden suddenly suffer suffice sufficient suit suitable supposed sure surely surprising survive switch system
    talented talk task terms terrible test thing think thoughts time times tool tools top topic total totally touch track
    traits treat trick tricks trouble truth turn turned turns typical ultimate understand understanding understood
    unique unusual upcoming update usage useful user usual valid valuable value vary view views
    visit wait walk watch watched whole wide widely widespread will willing win wonderful world worry worth write
    writing written wrong yes life's world's one's mind-blowing all-time must-read well-known lovely brilliant
    superb decent favourite interesting weird odd strangest coolest funniest craziest scariest creepiest worst-case
    purely truly constantly continuously accidentally mistakenly mistake deliberately intentionally purposely
    approximately roughly nearly almost barely mostly mainly primarily chiefly largely partly slightly somewhat
    rid deal dealing cope tackle address troubleshoot troubleshooting figure sort handle manage facing facing
    """.split()
)
"""Verbs, adjectives and abstract nouns of all trades."""

SYNONYMS = """
celsius c centigrade
fahrenheit f
kilogram kilograms kg kgs kilo kilos
gram grams g
milligram milligrams mg
kilometer kilometers kilometre kilometres km kms
meter meters metre metres m
centimeter centimeters centimetre centimetres cm
millimeter millimeters millimetre millimetres mm
mile miles mi
foot feet ft
inch inches
pound pounds lb lbs
pound pounds gbp quid
dollar dollars usd bucks
euro euros eur
yen jpy
rupee rupees inr rs
ounce ounces oz
liter liters litre litres l
milliliter milliliters millilitre ml
minute minutes min mins
second seconds sec secs
hour hours hr hrs h
day days
week weeks wk wks
month months mo
year years yr yrs
annual annually yearly
megabyte megabytes mb megs
gigabyte gigabytes gb gigs
terabyte terabytes tb
percent percentage pct
degree degrees
monday mon
tuesday tue tues
wednesday wed
thursday thu thur thurs
friday fri
saturday sat
sunday sun
january jan
february feb
march mar
april apr
august aug
september sep sept
october oct
november nov
december dec
weekday weekdays
weekend weekends
polite courteous
role position
pot pan saucepan
shot injection vaccine jab vaccination
reject rejected turn-down decline declined
cite reference referencing
submit file hand-in
delete remove erase clear wipe purge discard trash
remove uninstall
remove eliminate rid get-rid
buy purchase order
buy get acquire obtain
begin start launch commence initiate
big large huge giant enormous sizable
small little tiny mini compact
fix repair solve resolve troubleshoot mend correct rectify sort debug
error problem issue trouble bug failure fault glitch defect
crash freeze hang
create make build set-up generate produce construct develop form
change modify edit update alter switch adjust amend revise replace
change swap exchange
show display view see
stop quit end cease halt discontinue terminate kill
prevent avoid stop keep-from
cancel terminate unsubscribe end stop discontinue
close delete deactivate
pay payment paying paid
phone mobile cell cellphone smartphone handset
telephone phone call ring
movie film flick
show series
job career employment position occupation work gig
child kid kiddo youngster
baby infant newborn
toddler child
doctor physician gp
fast quick rapid speedy swift prompt
faster quicker sooner speedier
cheap inexpensive affordable low-cost budget economical low-priced cheaper
expensive pricey costly dear
cost price fee charge rate tariff
earn make
money cash funds
picture photo image photograph pic snapshot
company firm business organization organisation corporation enterprise agency
shop store outlet
shipping delivery postage
ship deliver send dispatch mail
parcel package shipment
tv television telly
car automobile vehicle auto
truck lorry
house home place residence
flat apartment condo
rent lease
bathroom restroom toilet washroom loo
holiday vacation
lawyer attorney solicitor
email e-mail mail
password passcode pwd pass
login log-in signin sign-in logon
log sign
register signup sign-up enroll enrol
logout log-out signout sign-out
app application apps
website site webpage page
laptop notebook
computer pc
happy glad cheerful
sad unhappy depressed down
smart intelligent clever bright
scared afraid frightened
hard difficult tough challenging tricky complicated
important essential crucial significant vital key critical
importance important significance
difference distinction differ differ different differentiate distinguish
compare comparison versus vs difference
benefit advantage pro upside perk plus
drawback disadvantage con downside shortcoming
method technique approach procedure process way
cause reason trigger source
effect impact consequence implication result influence affect outcome
answer reply response respond
ask request
speak talk communicate converse
improve enhance increase boost better strengthen upgrade sharpen
increase raise grow boost up
increase rise growth
reduce decrease lower lessen cut minimize minimise shrink drop
decline fall decrease drop collapse downfall
lose shed drop
female woman girl lady feminine
male man guy boy gentleman masculine
writer author novelist
book novel
famous popular well-known renowned celebrated
favorite favourite best preferred fave
university college uni
school academy
student pupil learner
teacher tutor professor instructor lecturer educator
study learn
test exam examination quiz
marks grades scores
salary pay wage income compensation earnings paycheck
cv resume résumé curriculum
recruit hire employ
fire dismiss sack terminate lay-off
raise increase pay-rise
illness disease sickness ailment disorder condition
medicine medication drug med meds
pain ache hurt sore hurting aching
hurt injure
tummy stomach belly abdomen
gym workout exercise
food meal dish
eat consume
drink beverage
travel trip journey visit tour go
flight plane airplane aeroplane
hotel accommodation lodging
near nearby close around
safe secure
dangerous unsafe risky hazardous harmful danger
rule regulation law policy
allow permit let
allowed permitted legal okay
forbidden prohibited banned illegal
contact reach call
customer client
support help assistance assist aid
account profile
document file doc
folder directory
program software app
code script program
function method
bug defect
write compose draft pen
summarize summarise summary sum-up recap
shorten condense abbreviate trim
translate translation render
compute calculate calculation work-out figure-out determine
convert turn transform conversion change
top best leading
usa us america american united-states u.s states
uk britain united-kingdom british england
india indian
eu europe european
girlfriend gf
boyfriend bf
wife spouse
husband spouse
mom mother mum mommy
dad father daddy
grandma grandmother granny
grandpa grandfather
programmer developer coder
programming coding
database db
javascript js
typescript ts
python py
postgres postgresql
kubernetes k8s
information info details data
forget forgot forgotten lost
reset recover restore retrieve
activate enable switch-on
deactivate disable
install setup set-up
wifi wi-fi wireless
internet web online net
download get
refund reimbursement money-back reimburse
receipt invoice bill
plan subscription membership
teammate colleague coworker co-worker
seat license licence
license licence permit
invite add
join enter
leave exit quit
leave vacation pto time-off holiday
maximum max
minimum min
average mean
amount quantity
number count
total sum
several multiple many various
entire whole full complete
main primary principal chief major
biggest largest major greatest
common typical usual frequent widespread
recent latest newest new current up-to-date
old ancient aged
beautiful pretty gorgeous stunning
rich wealthy affluent
start-up startup
real actual genuine authentic true
fake counterfeit bogus
world earth globe planet
country nation
city town
symptom sign indication
treat cure heal treatment remedy therapy
sleep nap
tired exhausted weary fatigued
refrigerator fridge
mathematics maths math
biology bio
advertisement ad advert
hot warm
movie cinema
garbage trash rubbish waste
garden yard
couch sofa
tap faucet
torch flashlight
petrol gas gasoline
lift elevator
pavement sidewalk
queue line
jumper sweater
trousers pants
shoes sneakers trainers footwear
trash bin
timetable schedule
meeting appointment call
agenda schedule
deadline due-date
boss manager supervisor
employee worker staff staffer
employer company
resign quit leave
retire retirement
overtime extra-hours
bonus incentive
share stock equity
invest investment investing
loan credit
mortgage home-loan
debt owe
tax taxes taxation
budget budgeting
save saving savings
spend spending
insurance coverage insure cover
claim file
deposit put
withdraw take-out
transfer send move
exchange convert swap
visa permit
passport id
luggage baggage bags suitcase
airport terminal
train rail
bus coach
taxi cab
bicycle bike cycle
motorcycle motorbike
weight kilos pounds
fat weight
diet nutrition
calories kcal energy
protein
vitamin
allergy allergic intolerance
cold flu
cough
fever temperature
headache migraine head-pain
dizzy lightheaded
vomit throw-up puke
diarrhea diarrhoea
pregnant expecting pregnancy
period menstruation
anxiety anxious nervous worry
depression depressed
insomnia sleeplessness
snore snoring
skin complexion
acne pimples spots zits pimple
wrinkle
hair
teeth tooth dental
glasses spectacles
sex gender
regex regexp regular-expression
directory folder
repo repository
branch
commit
merge combine join concatenate
loop iterate iteration
list array
dict dictionary map hashmap
string text str
integer int
boolean bool
null none nil
exception error
column field
row record
table
query select
sort order arrange
filter
duplicate repeated dupes repeat copy
unique distinct
random
parse read
print output display
input
format layout
compile build
run execute launch start
deploy release ship publish
host hosting
server
endpoint api
token key
permission access right privilege
admin administrator
user
config configuration configure settings setting setup options preferences
environment env
variable var
argument parameter arg param
package library module lib
dependency
version release
upgrade update
downgrade rollback
backup back-up
restore recover
encrypt encryption
hide conceal
block ban
unblock unban
mute silence
notify notification notifications alert alerts
subscribe follow
post publish upload
comment reply
like upvote
share send
photo selfie
video clip footage
song track music
game
level stage
character hero
win victory beat defeat
lose loss
cook prepare make bake
boil simmer
fry
grill barbecue bbq
chop cut slice
fridge refrigerator
oven
recipe instructions directions
ingredient
spicy hot
vegetarian veggie veg
story tale
poem verse
essay paper article
report
letter note
speech talk
joke
slogan tagline
title headline name
summary overview abstract synopsis
quote quotation
meaning definition mean define
purpose point goal aim objective
opinion view feel feeling thought stance take
believe think
guess assume
biggest main
motive reason
often frequently regularly
usually normally generally typically
currently now presently
immediately instantly right-away straightaway at-once
soon shortly
eventually finally
before prior
after following
again once-more
strange weird odd unusual
funny hilarious amusing
interesting cool fascinating intriguing
great amazing awesome excellent fantastic wonderful
bad terrible awful horrible poor
scary creepy frightening spooky
annoying irritating
boring dull
easy simple straightforward effortless
loud noisy
quiet silent
clean wash
dirty filthy
dry
wet damp
broken damaged faulty defective busted
lost missing misplaced
stolen theft
late delayed overdue
early
wrong incorrect mistaken inaccurate
right correct accurate
enough sufficient adequate
empty blank
full
available in-stock
unavailable out-of-stock sold-out
valid
expire expiration expiry expires
renew renewal
extend extension prolong
postpone delay reschedule defer put-off
hurry rush
waste squander
reliable trustworthy dependable
legit legitimate
scam fraud
protect guard safeguard secure
hack hacked compromised breached
virus malware
lock
unlock
charge billing billed
twice double
half
quarter
dozen
discount coupon voucher promo
sale
warranty guarantee
manual handbook
return send-back
exchange replace replacement
complain complaint
feedback review rating
track tracking trace follow
order purchase
cart basket
checkout
address location
zip postcode postal
age old years-old
height tall
width wide
length long
depth deep
weigh weight heavy
speed fast
distance far
duration long length
die death dead deceased pass-away
born birth
marry marriage wedding married
divorce split
birthday bday
anniversary
funeral
church
religion faith
god deity
army military
war conflict fight fought fighting
president head-of-state
election vote elections
government govt administration state
police cops
prison jail
court
crime
murder kill homicide
rob steal
student-loan
scholarship grant
degree diploma
major
homework assignment
project
thesis dissertation
research study
experiment
science scientific
technology tech technical
engineer engineering
math mathematics
history historical
geography
language tongue
grammar
vocabulary words
accent pronunciation
fluent fluently
"""

IRREGULAR = """
child children
man men
woman women
person people
mouse mice
foot feet
tooth teeth
buy bought
sell sold sale sales
pay paid
go went gone
get got gotten
take took taken
give gave given
write wrote written
break broke broken
choose chose chosen choice
lose lost
find found
send sent
spend spent
build built
keep kept
leave left
make made
see saw seen
know knew known
think thought
teach taught
catch caught
bring brought
begin began begun
drive drove driven
eat ate eaten
drink drank drunk
speak spoke spoken
steal stole stolen
forget forgot forgotten
grow grew grown
fall fell fallen
feel felt
hold held
mean meant
run ran
swim swam
win won
wear wore
tell told
sleep slept asleep
die died death dead
live life lives
lend lent
analyse analysis analyze
long length
strong strength
high height
wide width
deep depth
big size
old age
heavy weight weigh
fly flight
lie lying
pass past
"""
"""Forms of one word that its endings do not tell."""
