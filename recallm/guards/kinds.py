"""Members of one kind: asked about one, the answer about another is wrong. And pairs of opposites."""

from __future__ import annotations

KINDS = """
weekday: monday mon tuesday tue tues wednesday wed thursday thu thur thurs friday fri saturday sat sunday sun weekday weekend
month: january jan february feb march mar april apr june jun july jul august aug september sep sept october oct november nov december dec
season: spring summer autumn fall winter
holiday: christmas easter thanksgiving halloween new-year ramadan diwali hanukkah eid
daytime: morning afternoon evening night noon midnight dawn dusk breakfast lunch dinner brunch supper
day: today tomorrow yesterday tonight
duration: second seconds minute minutes hour hours hr hrs day days week weeks fortnight month months year years yr decade decades century centuries quarter quarters
frequency: hourly daily nightly weekly biweekly fortnightly monthly quarterly yearly annually annual once twice
length: millimeter millimeters mm centimeter centimeters centimetre centimetres cm meter meters metre metres kilometer kilometers kilometre kilometres km kms inch inches in foot feet ft yard yards mile miles mi
mass: milligram milligrams mg gram grams kilogram kilograms kg kgs kilo kilos ounce ounces oz pound pounds lb lbs ton tons tonne tonnes stone
volume: milliliter milliliters ml liter liters litre litres cup cups tablespoon tablespoons tbsp teaspoon teaspoons tsp pint pints quart quarts gallon gallons
temperature: celsius centigrade fahrenheit kelvin
data: bit bits byte bytes kilobyte kilobytes kb megabyte megabytes mb gigabyte gigabytes gb terabyte terabytes tb
speed: mph kph kmh knots
power: watt watts kilowatt kilowatts volt volts amp amps ohm ohms
currency: dollar dollars usd cad aud euro euros eur pound pounds gbp yen jpy yuan rmb rupee rupees inr peso pesos franc francs chf krona krone won real bitcoin btc ethereum eth
colour: red blue green yellow orange purple pink black white grey gray brown violet silver gold golden beige turquoise
language: english french german spanish italian portuguese dutch swedish norwegian danish finnish polish czech hungarian greek turkish russian ukrainian arabic hebrew hindi urdu bengali tamil telugu punjabi chinese mandarin cantonese japanese korean vietnamese thai indonesian malay swahili latin esperanto romanian bulgarian croatian serbian
programming: python py java javascript js typescript ts ruby php perl golang rust kotlin swift scala haskell clojure elixir erlang fortran cobol matlab r julia lua bash powershell c c++ c# cpp csharp vba objective-c dart groovy
framework: react reactjs angular vue svelte nextjs next.js nuxt django flask fastapi rails laravel symfony spring express nestjs jquery bootstrap tailwind
machine-learning: tensorflow pytorch keras scikit-learn sklearn jax xgboost
frames: pandas polars numpy spark dask
database: mysql postgres postgresql sqlite mongodb mongo oracle redis cassandra mariadb dynamodb elasticsearch mssql snowflake bigquery
cloud: aws azure gcp heroku digitalocean
container: docker podman kubernetes k8s
package-manager: npm yarn pnpm pip conda poetry brew apt yum
versioning: git svn mercurial github gitlab bitbucket
git: commit push pull merge rebase fetch clone stash checkout revert reset cherry-pick
http: get post put patch delete
sql-join: inner outer left right cross full
sql: insert update delete select upsert truncate drop
system: windows macos mac linux ubuntu debian fedora android ios chromeos unix
phone: iphone android pixel samsung nokia huawei xiaomi oneplus galaxy
device: phone smartphone tablet ipad laptop desktop watch tv console router printer scanner mouse keyboard monitor webcam headphones earbuds speaker
browser: chrome firefox safari edge opera brave
editor: vscode vim emacs pycharm intellij sublime notepad eclipse
office: word excel powerpoint outlook onenote docs sheets slides
meeting: zoom teams slack skype discord webex meet
social: facebook instagram twitter tiktok snapchat linkedin reddit pinterest youtube whatsapp telegram signal messenger quora tumblr
streaming: netflix hulu disney spotify prime
shopping: amazon ebay etsy walmart target costco ikea alibaba flipkart
payment: paypal stripe venmo visa mastercard amex cash cheque check klarna
format: pdf csv json xml yaml html markdown docx xlsx txt png jpg jpeg gif svg mp3 mp4 wav zip
structure: list tuple dict dictionary set array string integer float boolean queue stack tree graph heap table
sorting: bubble quicksort mergesort heapsort quick merge insertion selection
protocol: http https ftp sftp ssh tcp udp smtp imap pop3
animal: dog dogs puppy puppies cat cats kitten kittens horse horses cow cows pig pigs sheep goat goats rabbit rabbits hamster hamsters bird birds parrot chicken chickens duck fish goldfish snake turtle tortoise mouse mice rat rats bear bears wolf fox lion tiger elephant monkey frog bee bees wasp wasps ant ants spider spiders
pet: dog cat
meat: chicken beef pork lamb turkey fish salmon tuna shrimp bacon ham sausage steak duck tofu
grain: rice pasta bread quinoa oats wheat corn barley noodles couscous
vegetable: potato potatoes tomato tomatoes carrot carrots onion onions garlic broccoli spinach cabbage lettuce pepper peppers cucumber eggplant zucchini mushroom mushrooms pumpkin
fruit: apple apples banana bananas orange oranges lemon lemons lime limes grape grapes strawberry strawberries mango mangoes peach pear cherry pineapple watermelon avocado
dairy: milk cheese butter yogurt cream egg eggs
drink: coffee tea water beer wine juice whiskey vodka rum gin soda coke pepsi
cooking: bake boil fry grill roast steam microwave poach saute
flour: flour sugar salt yeast baking-powder baking-soda
relative: mother father parent parents brother sister sibling son daughter child uncle aunt cousin grandmother grandfather grandparent grandparents wife husband spouse nephew niece mom dad mum
sex: man men woman women boy boys girl girls male female males females
age-group: baby babies infant infants newborn newborns toddler toddlers child children kid kids teenager teenagers teen teens adult adults elderly senior seniors
party: buyer buyers seller sellers landlord landlords tenant tenants employer employers employee employees teacher teachers student students doctor doctors patient patients customer customers vendor vendors merchant merchants admin admins administrator user users owner owners member members guest guests host hosts driver drivers passenger passengers lender borrower sender recipient receiver manager managers contractor contractors freelancer freelancers plaintiff defendant applicant
scope: colleague colleagues coworker coworkers teammate teammates team teams friend friends neighbour neighbor manager boss guest guests visitor visitors customer customers client clients partner everyone everybody wife husband spouse son daughter child kid roommate parent
profession: nurse dentist surgeon lawyer accountant plumber electrician carpenter pharmacist therapist psychologist psychiatrist engineer architect designer pilot chef journalist
subject: math maths mathematics physics chemistry biology history geography economics philosophy psychology sociology law medicine engineering literature
engineering: mechanical civil electrical chemical software aerospace industrial biomedical
sport: football soccer basketball baseball tennis golf hockey rugby cricket volleyball badminton swimming running cycling boxing chess skiing
exercise: squat squats deadlift deadlifts pushup pushups pullup pullups plank lunge lunges bench
body: head neck shoulder shoulders back arm arms elbow wrist hand hands finger fingers chest stomach hip leg legs knee knees ankle ankles foot toe toes eye eyes ear ears nose mouth tooth teeth tongue throat skin hair heart liver kidney kidneys lung lungs brain
joint: shoulder knee hip ankle elbow wrist
disease: diabetes cancer flu cold covid asthma pneumonia bronchitis malaria hepatitis hiv aids arthritis migraine eczema psoriasis depression anxiety adhd autism insomnia hypertension anemia stroke
medicine: ibuprofen acetaminophen paracetamol aspirin tylenol advil naproxen amoxicillin penicillin metformin insulin warfarin prozac zoloft lexapro xanax adderall
vitamin: vitamin zinc iron magnesium calcium potassium
diet: vegan vegetarian keto paleo gluten-free halal kosher pescatarian
medical-aspect: symptom symptoms cause causes treatment treatments diagnosis prevention cure cures prognosis risk complication complications side-effect
aspect: price size weight height width length colour color cost warranty material capacity speed
account: checking savings current credit debit brokerage
card: credit debit gift prepaid
ira: ira roth 401k pension
share: stock stocks bond bonds etf crypto fund funds
loan: mortgage car student personal payday
rate: fixed variable adjustable
tax: income property sales capital vat payroll
plan: free basic starter pro premium plus enterprise business team personal
seat-class: economy business first premium
ticket: one-way round-trip return
room: kitchen bathroom bedroom garage basement attic garden living
fuel: petrol diesel electric hybrid gasoline
transport: car bus train plane bike bicycle motorcycle boat ferry taxi tram subway truck flight
house: apartment house condo flat villa studio
building: school hospital university college library museum church hotel restaurant
metal: gold silver copper iron steel aluminum aluminium titanium bronze brass tin lead
material: wood plastic glass leather cotton wool silk polyester denim linen concrete ceramic
planet: mercury venus earth mars jupiter saturn uranus neptune pluto moon sun
continent: africa europe asia australia antarctica america
direction: north south east west northern southern eastern western left right
us-state: alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho illinois indiana iowa kansas kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri montana nebraska nevada ohio oklahoma oregon pennsylvania tennessee texas utah vermont virginia washington wisconsin wyoming
country: usa us america canada mexico brazil argentina chile colombia peru uk england scotland wales ireland france germany spain italy portugal netherlands belgium switzerland austria sweden norway denmark finland poland czechia hungary greece turkey russia ukraine china japan korea india pakistan bangladesh indonesia malaysia singapore thailand vietnam philippines australia zealand egypt nigeria kenya ethiopia morocco israel iran iraq dubai uae qatar arabia iceland croatia romania bulgaria serbia cuba nepal
nationality: american british canadian mexican brazilian french german spanish italian portuguese dutch belgian swiss austrian swedish norwegian danish finnish polish greek turkish russian ukrainian chinese japanese korean indian pakistani indonesian thai vietnamese australian egyptian nigerian israeli iranian irish scottish welsh
city: london paris berlin madrid barcelona rome milan venice vienna prague amsterdam brussels lisbon dublin edinburgh zurich geneva munich hamburg frankfurt copenhagen stockholm oslo helsinki warsaw budapest athens istanbul moscow tokyo osaka kyoto seoul beijing shanghai delhi mumbai bangalore chennai hyderabad pune kolkata singapore bangkok sydney melbourne toronto vancouver montreal boston chicago seattle denver dallas houston austin atlanta miami philadelphia phoenix portland detroit vegas orlando cairo dubai
company: google apple microsoft amazon facebook meta netflix tesla intel amd nvidia ibm oracle samsung sony nintendo toyota honda ford bmw audi mercedes uber lyft airbnb adidas nike starbucks mcdonalds
model-maker: openai anthropic mistral gemini chatgpt claude llama gpt
console: playstation ps4 ps5 xbox switch wii
document: passport visa license id certificate
paper: essay poem haiku sonnet limerick story song speech email letter report article blog tweet summary paragraph sentence bullet headline
style: formal informal casual professional friendly funny serious polite rude
tense: past present future
grammar: noun verb adjective adverb pronoun preposition
algebra: sum difference product quotient mean median mode average variance maximum minimum
statistic: mean median mode variance
geometry: area perimeter volume circumference radius diameter circle square triangle rectangle cube sphere cylinder
trigonometry: sine cosine tangent sin cos tan
ordinal: 1st 2nd 3rd 4th 5th 6th 7th 8th 9th 10th
school-year: freshman sophomore junior senior elementary kindergarten primary secondary
degree: bachelor bachelors master masters phd mba doctorate associate diploma
branch: army navy
book-part: chapter page section paragraph introduction conclusion
bread: loaf bagel
file-action: upload download copy move rename delete open save print scan compress attach
account-action: create delete suspend deactivate reactivate activate verify upgrade downgrade rename merge transfer recover close
setting: username password email address phone photo avatar
authentication: authentication authorization
care: authenticate authorize
leave: sick maternity paternity parental annual vacation unpaid bereavement sabbatical
pay: gross net
employment: part-time full-time freelance contract temporary permanent
interview: resume cv cover-letter
contract: nda lease will deed
law: civil criminal
"""

OPPOSITES = """
add / remove delete subtract
enable activate / disable deactivate
install / uninstall
open / close shut
start begin launch / stop end finish quit
increase raise grow rise boost gain / decrease reduce lower drop lose cut shrink fall decline
upgrade / downgrade
upload / download
import / export
encrypt / decrypt
encode / decode
compress zip / decompress extract unzip
lock / unlock
block / unblock allow
mute / unmute
follow / unfollow
subscribe / unsubscribe
connect / disconnect
attach / detach
mount / unmount
check / uncheck
show display / hide
send / receive
buy purchase / sell return rent lease
lend / borrow
push / pull
read / write
load / unload save
save / spend delete
deposit / withdraw
win / lose
accept approve / reject decline refuse deny
allow permit / forbid prohibit ban block
include / exclude
join enter / leave exit quit
arrive / depart leave
arrival / departure
arrivals / departures
log-in login signin / logout log-out signout
hire / fire
marry / divorce
freeze / unfreeze thaw melt
heat warm / cool chill
love like / hate dislike
agree / disagree
expand / collapse
maximize maximise / minimize minimise
strengthen tighten / weaken loosen
lengthen extend / shorten
attack / defend
inhale / exhale
multiply / divide
merge / split
insert / delete remove
append / prepend
ascending / descending
horizontal horizontally / vertical vertically
inner inside internal indoor indoors / outer outside external outdoor outdoors
import imports / export exports
profit gain / loss
income revenue / expense expenses
asset assets / liability liabilities
supply / demand
credit / debit
input / output
front / back rear
top upper / bottom lower
left / right
north / south
east / west
first / last second
early earlier / late later
before / after
past / future
old older oldest / new newer newest latest
young younger youngest / old older oldest
big bigger biggest large larger largest / small smaller smallest
tall taller tallest / short shorter shortest
long longer longest / short shorter shortest
high higher highest / low lower lowest
fast faster fastest / slow slower slowest
cheap cheaper cheapest / expensive expensiver priciest pricier
hot hotter hottest warm / cold colder coldest cool
heavy heavier heaviest / light lighter lightest
hard harder hardest difficult / easy easier easiest
strong stronger strongest / weak weaker weakest
rich richer richest / poor poorer poorest
thick thicker / thin thinner
deep deeper deepest / shallow shallowest
wide wider / narrow narrower
near nearest close closest closer / far farthest furthest farther
good better best / bad worse worst
safe safer safest safely / dangerous unsafe risky
healthy healthier healthiest / unhealthy
clean / dirty
wet / dry
full / empty
public / private
single / married multiple
male men man boys boy / female women woman girls girl
legal legally / illegal illegally
possible / impossible
correct right true / incorrect wrong false
valid / invalid
visible / invisible
safe / unsafe
common / rare
similar same similarities alike / different differ difference differences
advantage advantages benefit benefits pro pros strength strengths / disadvantage disadvantages drawback drawbacks con cons downside downsides weakness weaknesses risk risks
positive / negative
maximum max most / minimum min least
more most / less fewer least fewest
all every each always / none no never some
all every each / one single
any / all
only / also
with / without
within / outside beyond
over above more / under below less
up / down
on / off
in / out
into / from
to / from
always / never sometimes
can may / must
must / can may
mandatory required compulsory / optional
inclusive / exclusive
temporary temporarily / permanent permanently
permanently / naturally temporarily
manual manually / automatic automatically
online / offline
wired / wireless
sync synchronous / async asynchronous
static / dynamic
local locally / remote remotely global globally
client / server
frontend front-end / backend back-end
domestic / international
inbound incoming / outbound outgoing
personal / business corporate professional
winner / loser
success successful / failure unsuccessful
life / death
birth born / death died
present current / former previous ex
current currently / previous previously former formerly
next upcoming / previous last
former / latter
oldest / youngest newest
singular / plural
formal / informal
literal / figurative
odd / even
raw / cooked
fresh / frozen stale
sweet / sour bitter savoury
vegetarian vegan / meat
smoker smoking / nonsmoking
paid / free unpaid
free / paid
unlimited / limited
rent / own buy sell
lease / buy
guilty / innocent
plaintiff / defendant
employer / employee
buyer / seller
landlord / tenant
teacher / student
parent / child
predator / prey
cause causes caused / effect effects
question / answer
problem / solution
theory / practice
acid / base
solid / liquid gas
summer / winter
day / night
morning / evening
sunrise / sunset
weekday weekdays / weekend weekends
hello / goodbye
friend / enemy
war / peace
ancestor / descendant
absorb / emit
contract / expand
ingest / excrete
evaporate / condense
sleep asleep / awake wake
laugh / cry
remember / forget
teach / learn
give / take receive
throw / catch
build / destroy demolish
create / delete destroy remove
produced produce / consumed consume
improve / worsen
relax / tense
praise / criticize
reward / punish
my mine our ours / your yours his her hers their theirs someone's
who / where when why how
where / when why
when / why how
will / did
was were / will
used / new
male / female
"""

RESTRICTIVE = frozenset(
    """
    only solely exclusively without except excluding besides unless not never no
    free paid unpaid used second-hand refurbished new online offline remotely in-person physically
    naturally organically manually automatically legally illegally illegal unlimited international internationally domestic
    domestically abroad overseas permanently temporarily anonymously safely commercially professionally
    child child's children children's kid kids kid's kids' toddler toddlers baby babies infant infants teens teenagers adult adults
    senior seniors elderly pregnant beginner beginners advanced intermediate disabled diabetic diabetics vegan vegetarian vegans
    vegetarians gluten-free dairy-free sugar-free halal kosher organic
    daily weekly monthly yearly annually overnight weekend weekends weekdays
    wholesale bulk business corporate enterprise personal student students veteran veterans
    expired damaged broken lost stolen unopened opened defective late early prepaid
    recursively iteratively asynchronously asynchronous async parallel recursive encrypted
    guest guests colleague colleague's coworker coworker's teammate teammate's roommate neighbor neighbour manager's boss's
    wife's husband's friend's mother's father's son's daughter's partner's spouse's
    french german spanish italian portuguese japanese chinese english russian arabic hindi korean dutch polish turkish
    """.split()
)
"""Words that narrow a request: with one of them more or less, something else is asked."""

CAPITALISED = frozenset(
    """
    us aids polish march may turkey china job reading nice august rust swift mercury pole bill mark will rose grace hope
    bath cork lima buffalo mobile tide dove jordan chile georgia apple target amazon shell gap orange puma jaguar
    galaxy office teams access edge it who ram sat act cat pet gas
    """.split()
)
"""Words that mean something else with a capital."""
