"""Roles: who does what to whom in two prompts of the same words, and what comes from where or before what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.order import MOST_WORDS
from recallm.guards.prompt import parse
from recallm.guards.roles import have_changed_roles


def changed(one: str, other: str) -> bool:
    """Return whether roles have changed between two prompts, whichever comes first."""
    found = have_changed_roles(parse(one), parse(other))
    assert have_changed_roles(parse(other), parse(one)) is found
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("My boss has sued me. What now?", "I have sued my boss. What now?"),
        ("Firm A buys Firm B. Who runs B?", "Firm B buys Firm A. Who runs B?"),
        ("My aunt wants me to sell her my half", "I want my aunt to sell me her half"),
        ("My bike was hit by a van", "My bike hit a van"),
        ("Was Rome sacked by the Goths?", "Did Rome sack the Goths?"),
        ("What causes anxiety?", "What does anxiety cause?"),
        ("Which teams has Leeds beaten?", "Which teams have beaten Leeds?"),
        ("The dog that bit the cat is ill", "The cat that bit the dog is ill"),
        ("How can nurses with asthma help parents?", "How can parents help nurses with asthma?"),
        ("I told my boss that my colleague steals", "My colleague told my boss that I steal"),
        ("How many people has the mayor fired?", "How many people have fired the mayor?"),
        ("Teach me how to train my dog", "Teach my dog how to train me"),
        ("A guest at our hotel insulted me", "I insulted a guest at our hotel"),
        ("Ann and Bob have sued Eve", "Eve has sued Bob and Ann"),
        ("Do antibiotics weaken the pill?", "Does the pill weaken antibiotics?"),
    ],
)
def test_who_does_what_to_whom(one: str, other: str) -> None:
    """Two who have changed sides of a verb have changed roles, unless the verb is in another voice."""
    assert changed(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Fly from London to New York", "Can I fly from New York to London?"),
        ("Move points from my wife's account to mine", "Move points from my account to my wife's"),
        ("To which countries does China sell oil?", "Which countries sell oil to China?"),
        ("match a before b", "match b before a"),
        ("Run migrations before I deploy", "Deploy before I'm running migrations"),
        ("Can I add salt before stirring it?", "May I stir before adding salt?"),
        ("Square x first and then add four", "Add four to x first and then square"),
        ("I called my bank first and the police later", "I called the police first and my bank later"),
        ("A tour that begins in Hanoi and ends in Da Nang", "A tour that begins in Da Nang and ends in Hanoi"),
        ("My wife left because I gambled", "I gambled because my wife left"),
        ("Why did it crash when the disk filled up?", "Why did the disk fill up when it crashed?"),
        ("Is green tea healthier than black coffee?", "Black coffee is healthier than green tea?"),
    ],
)
def test_what_stands_behind_a_preposition(one: str, other: str) -> None:
    """What stood behind "to", "before", "than" or the like and now stands elsewhere has changed its role."""
    assert changed(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "Because of noise we left our hotel early. Can we claim?",
            "Can we claim? We left early because of noise our hotel.",
        ),
        ("Since I took it I cough. Should I stop it?", "Should I stop it? I cough since I took it."),
        ("Before it is final I sell my half. Must he agree?", "Must he agree if I sell my half before it is final?"),
        ("Eat before swimming", "Before swimming, should I eat?"),
        ("For 2 people, how much rice?", "How much rice for 2 people?"),
        ("Flights from Paris to Rome", "Flights to Rome from Paris"),
        ("Compare tea with coffee", "Compare coffee with tea"),
        ("Is it cheaper to rent or to buy a house?", "Is it cheaper to buy a house or to rent?"),
        ("What is the capital of France?", "France's capital is what?"),
        ("Who wrote Hamlet?", "Hamlet was written by whom?"),
        ("Did Ann hire Bob?", "Was Bob hired by Ann?"),
        ("The best directors in Bollywood", "Who are some of the best directors of Bollywood?"),
        ("free tools for finding mail", "mail finding free tools"),
        ("tips for potty training boys", "potty training tips for boys"),
        ("start a homelab cheaply", "cheap homelab getting started"),
        ("Is it worth it to move", "To move is it worth it"),
        ("How did it feel at your first job?", "How did it feel when you got your first job?"),
        ("My boss fired me. Can I sue him?", "Can I sue my boss? He fired me."),
        ("I quit because my boss shouted. Can I claim?", "Because my boss shouted I quit. Can I claim?"),
        ("After my surgery may I eat soup before bed?", "Before bed may I eat soup after my surgery?"),
        ("I paid the dealer for the car but he sold it", "The dealer sold the car but I paid him for it"),
        ("Our claim failed as it was late because he fell", "He fell because our claim failed, it was late"),
        ("Does Ann pay Bob?", "Does Ann pay Eve?"),
    ],
)
def test_what_may_move(one: str, other: str) -> None:
    """Clauses and phrases move as a whole, and the passive voice keeps the roles."""
    assert not changed(one, other)


def test_longer_prompts_are_not_judged() -> None:
    """Prompts of more than `MOST_WORDS` words tell more than one story."""
    rest = " more" * (MOST_WORDS - 4)
    assert changed(f"Ann has sued Bob{rest}", f"Bob has sued Ann{rest}")
    assert not changed(f"Ann has sued Bob{rest} more", f"Bob has sued Ann{rest} more")


PEOPLE = st.lists(
    st.sampled_from(["my boss", "the bank", "our old landlord", "Ann", "his sister"]),
    min_size=2,
    max_size=2,
    unique=True,
)
VERBS = st.sampled_from(["accused", "hired", "visited", "threatened", "helped"])
PHRASES = st.sampled_from(["in May", "after lunch", "before the trial", "with a knife", "for no reason", "at school"])
QUESTIONS = st.sampled_from(["What should I do?", "Is that legal?", "Who is liable?", "Can I claim damages?"])


@given(PEOPLE, VERBS, QUESTIONS)
def test_two_who_have_changed_sides_of_a_verb(people: list[str], verb: str, question: str) -> None:
    """Whoever does it to whom, it is another case the other way round, and the same in the passive voice."""
    one, other = people
    case = f"{one} has {verb} {other}. {question}"
    assert changed(case, f"{other} has {verb} {one}. {question}")
    assert changed(case, f"{one} was {verb} by {other}. {question}")
    assert not changed(case, f"{other} was {verb} by {one}. {question}")


@given(PEOPLE, VERBS, PHRASES, QUESTIONS)
def test_what_is_moved_as_a_whole(people: list[str], verb: str, phrase: str, question: str) -> None:
    """A phrase, or the question, may stand before or behind the case."""
    case = f"{people[0]} has {verb} {people[1]}"
    assert not changed(f"{case} {phrase}. {question}", f"{phrase} {case}. {question}")
    assert not changed(f"{case} {phrase}. {question}", f"{question} {case} {phrase}.")
    assert not changed(f"{case} {phrase}. {question}", f"{question} {phrase} {case}.")


WORDS = st.lists(
    st.sampled_from("from to and tea ale i me my her boss calls a by is sued first then who does".split()), max_size=8
).map(" ".join)


@given(WORDS, WORDS)
def test_no_order_of_prompts_is_preferred(one: str, other: str) -> None:
    """Roles have changed between two prompts in both orders or in neither; no prompt differs from itself."""
    assert changed(one, other) in (True, False)
    assert not changed(one, one)
