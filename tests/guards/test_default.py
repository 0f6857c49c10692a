"""The default guards: what each refuses, what it lets through, and how often all of them are right."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm import Guard
from recallm.evaluation.pairs import labelled
from recallm.guards import default as guards
from recallm.guards import patterns, prompt, word_lists, words
from recallm.guards.default import DEFAULT_GUARDS

TABLE: list[tuple[Guard, str, str, bool]] = [
    (guards.languages_agree, "What is the capital of France?", "Quelle est la capitale de la France ?", False),
    (guards.languages_agree, "What does 'guten Tag' mean?", "What does 'guten Morgen' mean?", True),
    (guards.languages_agree, "Passwort vergessen", "Ich habe mein Passwort vergessen", True),
    (guards.numbers_agree, "Was tun in zwei Tagen Rom?", "Was kann man in 2 Tagen Rom tun?", True),
    (guards.numbers_agree, "Was tun in zwei Tagen Rom?", "Was tun in Rom?", False),
    (guards.numbers_agree, "Refund within 30 days?", "Refund within 90 days?", False),
    (guards.numbers_agree, "Refund within 30 days?", "Can I get a refund within 30 days?", True),
    (guards.numbers_agree, "Is 30 days the limit?", "Is the limit thirty days?", True),
    (guards.numbers_agree, "Refund?", "Refund within 30 days?", False),
    (guards.numbers_agree, "1 and 2", "2 and 1", True),
    (guards.numbers_agree, "1 and 1", "1", False),
    (guards.numbers_agree, "1.5 kg", "15 kg", False),
    (guards.numbers_agree, "version 3.11", "version 3.1", False),
    (guards.numbers_agree, "a budget of 1,500 euros", "a budget of 1500 euros", True),
    (guards.numbers_agree, "a 5k run", "a 5000 m run", True),
    (guards.numbers_agree, "a table for 7:30 pm", "a table for 19:30", True),
    (guards.numbers_agree, "a table for 7:30 pm", "a table for 7:30 am", False),
    (guards.numbers_agree, "on December 24th", "on 24 December", True),
    (guards.numbers_agree, "How do I pay?", "How can I pay?", True),
    (guards.numbers_agree, "Invest $1.5m", "Invest 1.5 million dollars", True),
    (guards.numbers_agree, "Invest $1.5m", "Invest $15m", False),
    (guards.numbers_agree, "a wall of 1.5m", "a wall of 1.5 million", False),
    (guards.numbers_agree, "the 19th century", "the nineteenth century", True),
    (guards.numbers_agree, "twenty-one questions", "21 questions", True),
    (guards.numbers_agree, "the 2nd item", "the second item", True),
    (guards.numbers_agree, "Who came 1st that year?", "That year, who finished 2nd?", False),
    (guards.numbers_agree, "the 2nd item", "the item", False),
    (guards.numbers_agree, "the 2nd and the 3rd item", "the second item", False),
    (guards.numbers_agree, "the 21st of May", "the 1st of May", False),
    (
        guards.numbers_agree,
        "I have had a headache since I fell from my bike 3 days ago. Is that dangerous?",
        "Ever since my bicycle accident my head aches. Should I see somebody about it soon?",
        True,
    ),
    (
        guards.numbers_agree,
        "I have had a headache since I fell from my bike 3 days ago. Is that dangerous?",
        "Ever since my bicycle accident 9 weeks ago my head aches. Should I see somebody about it?",
        False,
    ),
    (
        guards.manner_agrees,
        "I have had a headache since I fell from my bike yesterday evening. Is that dangerous?",
        "Ever since my bicycle accident my head aches. Should I see somebody about it soon?",
        True,
    ),
    (guards.literals_agree, "What does `len(x)` return?", "What does `len(y)` return?", False),
    (guards.literals_agree, "What does grep -l do?", "What does grep -L do?", False),
    (guards.literals_agree, "Delete /etc/hosts", "Delete /etc/fstab", False),
    (guards.literals_agree, 'What does "ghosting" mean?', 'What does "gaslighting" mean?', False),
    (guards.literals_agree, "What does user_id hold?", "What is held by user_id?", True),
    (guards.literals_agree, "Refund the $19.99", "Refund 19.99 dollars", True),
    (guards.literals_agree, "Error E1102 on the washer", "Error E1108 on the washer", False),
    (guards.literals_agree, "What does the pattern \\d match?", "What does the pattern \\D match?", False),
    (guards.literals_agree, "What does x *= 2 do?", "What does x /= 2 do?", False),
    (guards.literals_agree, "What is f(*args)?", "What is f(**args)?", False),
    (guards.literals_agree, "What does a -> b mean?", "What does a => b mean?", False),
    (guards.literals_agree, "a - b, what is it?", "a + b, what is it?", True),
    (guards.literals_agree, "What does %d print?", "What does %s print?", False),
    (guards.literals_agree, "Where is order #WT-44219?", "Where is order WT-44219?", True),
    (guards.literals_agree, "Where is branch #0471?", "Where is branch 0471?", True),
    (guards.numbers_agree, "Where is branch #0471?", "Where is branch 0472?", False),
    (guards.literals_agree, "What does C# cost?", "What does C cost?", False),
    (guards.literals_agree, "Hotels with a price < 30 euros", "Hotels under 30 euros", True),
    (guards.numbers_agree, "Prices < 30 euros", "Prices > 30 euros", False),
    (guards.scope_agrees, "GDP of Japan in 2020", "GDP of Japan in the year 2020", True),
    (guards.literals_agree, "from:ann budget", "to:ann budget", False),
    (guards.literals_agree, "budget from:ann is:open", "is:open from:ann budget", True),
    (guards.literals_agree, "Where is gate 12?", "Where is gate 12A?", False),
    (guards.literals_agree, "A power bank of 20,000 mAh", "A power bank of 20000mAh", True),
    (guards.numbers_agree, "Is 150 over 95 a high pressure?", "Is a pressure of 150/95 high?", True),
    (guards.numbers_agree, "Is 150 over 95 a high pressure?", "Is a pressure of 150/90 high?", False),
    (guards.numbers_agree, "How do I merge two lists?", "How are lists merged?", True),
    (guards.numbers_agree, "How do I sort two lists?", "How are lists sorted?", False),
    (guards.numbers_agree, "How do I merge plan 2?", "How are plans merged?", False),
    (guards.direction_agrees, "Is it dry from March to May?", "Is it dry from May to March?", False),
    (guards.direction_agrees, "May it rain in March?", "It may rain in March?", True),
    (guards.direction_agrees, "How do I fly from London to New York?", "How do I fly from New York to London?", False),
    (guards.direction_agrees, "Did Brazil beat Germany?", "Did Germany beat Brazil?", False),
    (guards.direction_agrees, "My boss yelled at me", "I yelled at my boss", False),
    (guards.direction_agrees, "Did stress cause my rash?", "Did my rash cause stress?", False),
    (guards.direction_agrees, "Was Ann hired by Bob?", "Did Ann hire Bob?", False),
    (guards.direction_agrees, "Was Ann hired by Bob?", "Did Bob hire Ann?", True),
    (guards.direction_agrees, "madrid museums free sunday", "free museums madrid sunday", True),
    (guards.direction_agrees, "Copy x to y, and empty x", "Copy y to x, and empty y", False),
    (guards.direction_agrees, "Run migrations before I deploy", "Deploy before I'm running migrations", False),
    (guards.direction_agrees, "Is it worth moving house", "Is moving house worth it", True),
    (guards.direction_agrees, "Compare tea and coffee", "Compare coffee and tea", True),
    (guards.direction_agrees, "In Python, how do I sort?", "How do I sort in Python?", True),
    (guards.capitals_agree, "Which drugs treat AIDS now?", "Which drugs treat aids now?", False),
    (guards.capitals_agree, "how do i learn python", "How do I learn Python?", True),
    (guards.capitals_agree, "define Turkey", "define turkey", False),
    (guards.capitals_agree, "Define Turkey", "define turkey", True),
    (guards.manner_agrees, "What is a monad?", "What is a monad, in detail?", False),
    (guards.manner_agrees, "What is a monad?", "What is a monad? Be funny.", False),
    (guards.manner_agrees, "What is a monad?", "What is a monad, as if I were a doctor?", False),
    (guards.manner_agrees, "What is a monad?", "Sarcastically, what is a monad?", False),
    (guards.manner_agrees, "What is a monad, in short?", "Briefly, what is a monad?", True),
    (guards.manner_agrees, "What is a monad, in short?", "What is a monad, in detail?", False),
    (guards.manner_agrees, "List the planets as JSON", "A JSON list of the planets", True),
    (guards.manner_agrees, "List the planets as JSON", "A list of the planets", False),
    (guards.manner_agrees, "Explain rain to me, for a child", "How would you explain rain to children?", True),
    (guards.manner_agrees, "Which trains are late?", "Which trains are late today?", False),
    (guards.manner_agrees, "Which trains are late now?", "Which trains are late today?", True),
    (guards.manner_agrees, "Which trains are late this week?", "Which trains are late next week?", False),
    (guards.manner_agrees, "What was on last week?", "What was on in the past week?", True),
    (guards.manner_agrees, "Which trains are late?", "Which trains are late right now?", False),
    (guards.manner_agrees, "Which trains are late?", "Is any train currently late?", True),
    (guards.manner_agrees, "What is a monad?", "What is a monad for me?", True),
    (guards.opposites_are_absent, "Orders that shipped", "Orders that will ship", False),
    (guards.opposites_are_absent, "The cheapest way to Rome", "The least expensive way to Rome", True),
    (guards.negations_agree, "Which foods are safe for dogs?", "Which foods are not safe for dogs?", False),
    (guards.negations_agree, "Why can't I log in?", "Why can I not log in?", True),
    (guards.negations_agree, "Isn't the office open on Sunday?", "Is the office open on Sunday?", True),
    (guards.negations_agree, "I can't log in to my account", "I am unable to log in to my account", True),
    (guards.negations_agree, "My son refuses to eat", "My son won't eat", True),
    (guards.negations_agree, "My son refuses to eat lunch", "My son eats lunch", False),
    (guards.negations_agree, "What if I fail to pay the rent?", "What if I pay the rent?", False),
    (guards.negations_agree, "I forgot my password", "I can't remember my password", True),
    (guards.negations_agree, "I forgot my password", "I can't reset my password", False),
    (guards.negations_agree, "My lump is painless", "My lump doesn't hurt", True),
    (guards.negations_agree, "I no longer need my order", "I don't need my order anymore", True),
    (guards.negations_agree, "I no longer need my order", "I need my order", False),
    (guards.negations_agree, "Did not receive my order", "Received my order", False),
    (guards.wording_agrees, "Unable to log in", "Can't log in", True),
    (guards.wording_agrees, "Unable to log in", "Able to log in", False),
    (guards.wording_agrees, "My parcel never arrived", "My parcel didn't arrive", True),
    (guards.wording_agrees, "My lump is painless", "My lump hurts", False),
    (guards.negations_agree, "My parcel never arrived", "My parcel arrived", False),
    (guards.wording_agrees, "The page fails to load", "The page doesn't load", True),
    (guards.wording_agrees, "The pros and cons of tea", "The cons and pros of tea", True),
    (guards.wording_agrees, "The pros of tea", "The cons of tea", False),
    (guards.wording_agrees, "Advantages and disadvantages of tea", "Disadvantages and advantages of tea", True),
    (guards.opposites_are_absent, "Advantages of green tea", "Disadvantages of green tea", False),
    (guards.opposites_are_absent, "Who pays when I rent out a flat?", "Who pays when I rent a flat?", False),
    (guards.opposites_are_absent, "How do I get into debt?", "How do I get out of debt?", False),
    (guards.opposites_are_absent, "How do I enable dark mode?", "How do I disable dark mode?", False),
    (guards.opposites_are_absent, "Is this mushroom edible?", "Is this mushroom inedible?", False),
    (guards.opposites_are_absent, "Can I take it with food?", "Must I take it with food?", False),
    (guards.opposites_are_absent, "May I park here?", "Must I park here?", False),
    (guards.opposites_are_absent, "Is it allowed to park here?", "Is it required to park here?", False),
    (guards.opposites_are_absent, "Should I see a doctor?", "Do I need to see a doctor?", True),
    (guards.opposites_are_absent, "Should I see a doctor?", "Can I see a doctor?", False),
    (guards.opposites_are_absent, "Do I have to take it with food?", "Can I take it with food?", False),
    (guards.opposites_are_absent, "Can I change my flight?", "I need to change my flight", True),
    (guards.opposites_are_absent, "Do I need treatment?", "Will I need treatment?", True),
    (guards.opposites_are_absent, "The meeting was cancelled", "The meeting will be cancelled", False),
    (
        guards.opposites_are_absent,
        "I have to shake my hands after sleeping. What is the cause?",
        "I have to shake my hands after sleeping. What might be the cause?",
        True,
    ),
    (
        guards.opposites_are_absent,
        "I have to fly with a bad cough. Can I take it?",
        "I have to fly with a bad cough. Should I take it?",
        False,
    ),
    (guards.opposites_are_absent, "Who was the king of Spain?", "Who is the king of Spain?", False),
    (guards.opposites_are_absent, "Is the mushroom dangerous?", "Is the mushroom not safe?", True),
    (guards.opposites_are_absent, "What should I do about ants?", "What can I do about ants?", True),
    (
        guards.opposites_are_absent,
        "My order was cancelled, am I refunded?",
        "They cancelled my order, am I refunded?",
        True,
    ),
    (guards.opposites_are_absent, "Export from Notion", "How to export Notion", True),
    (guards.opposites_are_absent, "How do I buy shares?", "How do I purchase shares?", True),
    (guards.kinds_agree, "Sort a list in Python", "Sort a list in Java", False),
    (guards.kinds_agree, "Is the shop open on Monday?", "Is the shop open on Friday?", False),
    (guards.kinds_agree, "Convert 5 miles to metres", "Convert 5 miles to inches", False),
    (guards.kinds_agree, "Can dogs eat cheese?", "Can a dog eat cheese?", True),
    (guards.names_agree, "Best hotels in Murray county", "Best hotels in Floyd county", False),
    (guards.names_agree, "Can I work in the US?", "Can I work in the United States?", True),
    (guards.names_agree, "How old is Ada Lovelace?", "What is the age of Ada Lovelace?", True),
    (guards.scope_agrees, "How do I reset my password?", "How do I reset my colleague's password?", False),
    (guards.scope_agrees, "Can I return shoes?", "Can I return shoes without a receipt?", False),
    (guards.scope_agrees, "How do I install Docker?", "How do I install Docker on Windows?", False),
    (guards.scope_agrees, "How do I reset my password?", "Please tell me, how do I reset my password?", True),
    (guards.scope_agrees, "How do I cancel?", "How exactly do I cancel?", True),
    (guards.wording_agrees, "What is the safest sleeping pill?", "What is the strongest sleeping pill?", False),
    (guards.wording_agrees, "How do I store fresh basil?", "How do I grow fresh basil?", False),
    (guards.wording_agrees, "How do I repair a bike?", "How do I fix a bicycle?", True),
    (guards.wording_agrees, "How do I cancle my plan?", "How do I cancel my plan?", True),
    (guards.wording_agrees, "How do I get rid of ants?", "How do I remove ants?", True),
    (guards.wording_agrees, "I've figured out the price of it", "I determined the price of it", True),
    (guards.wording_agrees, "My new born cries", "My newborn cries", True),
    (guards.wording_agrees, "The top hotels in Rome", "The best hotels in Rome", True),
    (
        guards.wording_agrees,
        "I spilt tea, then sat down on the sofa to wait for the taxi home, and it is wet. What now?",
        "I spilt tea, then sat down on the sofa to wait for a taxi home, and the wool is stained. What now?",
        False,
    ),
    (guards.wording_agrees, "What's the colour of it?", "What is the color of it?", True),
]


@pytest.mark.parametrize(("guard", "one", "other", "agree"), TABLE)
def test_what_each_guard_catches_and_lets_through(guard: Guard, one: str, other: str, agree: bool) -> None:
    """Each guard allows or refuses the pairs of the table, whichever of the two prompts is the stored one."""
    assert guard(one, other) is agree
    assert guard(other, one) is agree


@pytest.mark.parametrize("guard", DEFAULT_GUARDS)
@given(st.text(), st.text())
def test_a_guard_never_raises_and_allows_a_prompt_for_itself(guard: Guard, one: str, other: str) -> None:
    """Whatever two prompts hold, a guard returns True or False, and True if they are equal."""
    assert guard(one, one)
    assert guard(one, other) in (True, False)


WORDS = st.lists(
    st.sampled_from("how do i not never reset my your Paris Rome 3 5 import export the a -v x_y to".split())
)


@pytest.mark.parametrize("guard", DEFAULT_GUARDS)
@given(WORDS, WORDS)
def test_a_guard_does_not_mind_which_prompt_came_first(guard: Guard, one: list[str], other: list[str]) -> None:
    """A guard decides the same if the stored prompt and the asked one are exchanged."""
    assert guard(" ".join(one), " ".join(other)) == guard(" ".join(other), " ".join(one))


@pytest.mark.parametrize("guard", DEFAULT_GUARDS)
def test_every_guard_says_what_it_catches_and_lets_through(guard: Guard) -> None:
    """The docstring of each guard tells what it lets through, and the table has rows that it allows and refuses."""
    assert "Lets through" in (guard.__doc__ or "")
    assert {agree for each, _, _, agree in TABLE if each is guard} == {True, False}


def test_politeness_and_typing_errors_are_no_reason() -> None:
    """Courtesies, typing errors, capitals, full stops and white space are no reason to refuse."""
    asked = "How do I cancel my subscription?"
    for other in (
        "hi, how do i cancel my subscription",
        "How do I cancel my subscription, please? Thanks!",
        "HOW DO I CANCEL MY SUBSCRIPTION",
        "How do I cancell my subscription ?",
        "Quick question: how can I cancel my subscription?",
        "Hi team, how do I cancel my subscription? Kind regards, Ann",
        "Um, hey there, I was wondering how to cancel my subscription as soon as possible",
        "Dear support, I'm a bit stuck. How do I cancel my subscription? Thanks in advance",
    ):
        assert all(guard(asked, other) for guard in DEFAULT_GUARDS), other


@pytest.mark.parametrize(("half", "fewest_caught", "most_lost"), [("dev", 0.8, 0.1), ("test", 0.8, 0.2)])
def test_guards_catch_most_look_alikes_and_cost_few_rewordings(
    half: str, fewest_caught: float, most_lost: float
) -> None:
    """Of our labelled pairs, the guards refuse most look-alikes and few rewordings; the benchmark has the figures."""
    pairs = labelled(Path(__file__).parents[1] / "data" / f"pairs_{half}.jsonl").pairs
    refused = [not all(guard(pair.a, pair.b) for guard in DEFAULT_GUARDS) for pair in pairs]
    caught = [no for pair, no in zip(pairs, refused, strict=True) if not pair.same]
    lost = [no for pair, no in zip(pairs, refused, strict=True) if pair.same]
    assert sum(caught) / len(caught) >= fewest_caught
    assert sum(lost) / len(lost) <= most_lost


LONG = 30_000


@pytest.mark.untraced
@pytest.mark.parametrize(
    "piece",
    [*"a1A_-/'\"`@=(. ", "aB1", "a.", "a-", "a@", "~.", "1.", "1,", "n't", "C:\\", "thanks so much ", "fA3+", "word "],
)
def test_long_prompts_take_bounded_time(piece: str) -> None:
    """All guards take at most seconds for 30,000 characters of anything: no pattern backtracks over all of a text."""
    one = (piece * LONG)[:LONG]
    two = " ".join(f"{piece}{number}" for number in range(LONG // 8))
    began = time.thread_time()
    for guard in DEFAULT_GUARDS:
        guard(one, one[:-1] + "x")
        guard(two, two.upper() + "x")
    assert time.thread_time() - began < 5


def test_nothing_is_left_to_be_read_once_the_guards_are_prepared() -> None:
    """After `prepare` all word lists are read; two prompts that hold little are judged without compiling a pattern."""
    lists = [read for read in vars(word_lists).values() if hasattr(read, "cache_clear")]
    for module in [module for name, module in sys.modules.items() if name.startswith("recallm.guards.")]:
        for read in [read for read in vars(module).values() if hasattr(read, "cache_clear")]:
            read.cache_clear()
    words._WORDS.clear()
    prompt._PARSED.clear()
    guards._COMPARED.clear()
    guards.prepare()
    assert all(read.cache_info().currsize == 1 for read in lists)
    compiled = patterns.compiled.cache_info().misses
    for guard in DEFAULT_GUARDS:
        guard("How do I pay 3 euros, e.g. by card?", "Can't I pay 4.50 in cash?")
    assert patterns.compiled.cache_info().misses == compiled
