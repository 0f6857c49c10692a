"""The default guards: what each refuses, what it lets through, and how often all of them are right."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm import Guard
from recallm.evaluation.pairs import labelled
from recallm.guards import default as guards
from recallm.guards.default import DEFAULT_GUARDS

TABLE: list[tuple[Guard, str, str, bool]] = [
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
    (guards.literals_agree, "What does `len(x)` return?", "What does `len(y)` return?", False),
    (guards.literals_agree, "What does grep -l do?", "What does grep -L do?", False),
    (guards.literals_agree, "Delete /etc/hosts", "Delete /etc/fstab", False),
    (guards.literals_agree, 'What does "ghosting" mean?', 'What does "gaslighting" mean?', False),
    (guards.literals_agree, "What does user_id hold?", "What is held by user_id?", True),
    (guards.literals_agree, "Refund the $19.99", "Refund 19.99 dollars", True),
    (guards.literals_agree, "Error E1102 on the washer", "Error E1108 on the washer", False),
    (guards.direction_agrees, "How do I fly from London to New York?", "How do I fly from New York to London?", False),
    (guards.direction_agrees, "Did Brazil beat Germany?", "Did Germany beat Brazil?", False),
    (guards.direction_agrees, "My boss yelled at me", "I yelled at my boss", False),
    (guards.direction_agrees, "Copy x to y, and empty x", "Copy y to x, and empty y", False),
    (guards.direction_agrees, "Run migrations before I deploy", "Deploy before I'm running migrations", False),
    (guards.direction_agrees, "Is it worth moving house", "Is moving house worth it", True),
    (guards.direction_agrees, "Compare tea and coffee", "Compare coffee and tea", True),
    (guards.direction_agrees, "In Python, how do I sort?", "How do I sort in Python?", True),
    (guards.capitals_agree, "Which drugs treat AIDS now?", "Which drugs treat aids now?", False),
    (guards.capitals_agree, "how do i learn python", "How do I learn Python?", True),
    (guards.capitals_agree, "define Turkey", "define turkey", False),
    (guards.capitals_agree, "Define Turkey", "define turkey", True),
    (guards.opposites_are_absent, "Orders that shipped", "Orders that will ship", False),
    (guards.opposites_are_absent, "The cheapest way to Rome", "The least expensive way to Rome", True),
    (guards.negations_agree, "Which foods are safe for dogs?", "Which foods are not safe for dogs?", False),
    (guards.negations_agree, "Why can't I log in?", "Why can I not log in?", True),
    (guards.negations_agree, "Isn't the office open on Sunday?", "Is the office open on Sunday?", True),
    (guards.negations_agree, "I can't log in to my account", "I am unable to log in to my account", True),
    (guards.opposites_are_absent, "How do I enable dark mode?", "How do I disable dark mode?", False),
    (guards.opposites_are_absent, "Is this mushroom edible?", "Is this mushroom inedible?", False),
    (guards.opposites_are_absent, "Can I take it with food?", "Must I take it with food?", False),
    (guards.opposites_are_absent, "Who was the king of Spain?", "Who is the king of Spain?", False),
    (guards.opposites_are_absent, "How do I buy shares?", "How do I purchase shares?", True),
    (guards.kinds_agree, "Sort a list in Python", "Sort a list in Java", False),
    (guards.kinds_agree, "Is the shop open on Monday?", "Is the shop open on Friday?", False),
    (guards.kinds_agree, "Convert 5 miles to metres", "Convert 5 miles to inches", False),
    (guards.kinds_agree, "Can dogs eat cheese?", "Can a dog eat cheese?", True),
    (guards.names_agree, "Best hotels in Murray county", "Best hotels in Floyd county", False),
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


LONG = 60_000


@pytest.mark.parametrize(
    "piece",
    [*"a1A_-/'\"`@=(. ", "aB1", "a.", "a-", "a@", "~.", "1.", "1,", "n't", "C:\\", "thanks so much ", "fA3+", "word "],
)
def test_long_prompts_take_bounded_time(piece: str) -> None:
    """All guards take at most seconds for 60,000 characters of anything: no pattern backtracks over all of a text."""
    one = (piece * LONG)[:LONG]
    two = " ".join(f"{piece}{number}" for number in range(LONG // 8))
    began = time.perf_counter()
    for guard in DEFAULT_GUARDS:
        guard(one, one[:-1] + "x")
        guard(two, two.upper() + "x")
    assert time.perf_counter() - began < 10
