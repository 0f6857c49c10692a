"""Quantities: numbers with what they count, in one unit or another, and in their places."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recallm.guards.default import DEFAULT_GUARDS, numbers_agree
from recallm.guards.prompt import parse
from recallm.guards.quantities import MOST_NUMBERS, in_the_same_units

EXCHANGES = [
    ("What happened on 2024-01-02?", "What happened on 2024-02-01?"),
    ("Python 3.11 -> 3.12 upgrade", "Python 3.12 -> 3.11 upgrade"),
    ("What is pow(2, 8)?", "What is pow(8, 2)?"),
    ("What is pow(2, 8) or 3?", "What is pow(8, 2) or 3?"),
    ("What is 10 - 3?", "What is 3 - 10?"),
    ("What is 10 / 2?", "What is 2 / 10?"),
    ("What is 2^10?", "What is 10^2?"),
    ("Lakers lost 98-102, how?", "Lakers lost 102-98, how?"),
    ("Lakers lost 98 to 102, how?", "Lakers lost 102\u201398, how?"),
    ("Is 4 < 9?", "Is 9 < 4?"),
    ("What is at 48.85, 2.35?", "What is at 2.35, 48.85?"),
    ("Call 555-123-4567", "Call 123-555-4567"),
    ("Ping 192.168.1.10", "Ping 192.168.10.1"),
    ("Is 3/4 cup enough?", "Is 4/3 cup enough?"),
    ("What is 5 percent of 20?", "What is 20 percent of 5?"),
    ("From 10 to 20 percent", "From 20 to 10 percent"),
    ("Upgrade from iPhone 6 to iPhone 7", "Upgrade from iPhone 7 to iPhone 6"),
    ("2 adults and 3 children to Rome", "3 adults and 2 children to Rome"),
    ("2 adults and 3 children to Rome", "2 children and 3 adults to Rome"),
    ("2 tickets for parents and children", "tickets for 2 parents and children"),
    ("Is 30 days the limit for 2 items?", "For 30 items, is the limit 2 days?"),
    ("Raise 5 percent to 10", "Raise 10 to 5 percent"),
    ("Who is Martin Luther?", "Who is Luther Martin?"),
    ("Was Martin Luther a monk?", "Has Luther Martin been a monk?"),
    ("who is martin luther", "who is luther martin"),
    ("First wash, then dry the rice?", "First dry, then wash the rice?"),
    ("Should I paint before sanding wood?", "Should I sand before painting wood?"),
    ("Should I eat first and then swim?", "Should I swim first and then eat?"),
    ("Replace tea with coffee", "Replace coffee with tea"),
    ("Wie komme ich mit 2 Kindern in 3 Tagen hin?", "Wie komme ich mit 3 Kindern in 2 Tagen hin?"),
    ("Qué pasó el 3 de mayo de 2020?", "Qué pasó el 20 de mayo de 2003?"),
]


@pytest.mark.parametrize(("one", "other"), EXCHANGES)
def test_what_has_changed_places_is_refused(one: str, other: str) -> None:
    """Two numbers, names or steps that have taken each other's place ask for another answer."""
    assert not all(guard(one, other) for guard in DEFAULT_GUARDS)
    assert not all(guard(other, one) for guard in DEFAULT_GUARDS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is 30 days the limit for 2 items?", "For 2 items, is the limit 30 days?"),
        ("2 adults and 3 children to Rome", "3 children and 2 adults to Rome"),
        ("Which is better, 5 or 10 kg?", "Which is better, 10 or 5 kg?"),
        ("Which is better, 5 kg or 10 kg?", "Which is better, 10 kg or 5 kg?"),
        ("Compare iPhone 6 vs iPhone 7", "Compare iPhone 7 vs iPhone 6"),
        ("Sort 3, 1 and 2 in Python", "Sort 1, 2 and 3 in Python"),
        ("Is a resting pulse of 48 too low at 35?", "At 35, is a resting pulse of 48 too low?"),
        ("Welche Zahl passt, 5 oder 10?", "Welche Zahl passt, 10 oder 5?"),
        ("Will iPhone 5s get iOS 10?", "Will iOS 10 get to iPhone 5s?"),
        ("Lose 5 kg in 3 months", "In 3 months, lose 5 kg"),
        ("Bake at 180 C for 20 min", "Bake for 20 minutes at 180 °C"),
        ("Compare tea with coffee", "Compare coffee with tea"),
        ("the big red car", "the red big car"),
        ("playlist jazz", "jazz playlist"),
    ],
)
def test_what_moves_with_its_noun_or_is_joined_is_let_through(one: str, other: str) -> None:
    """A number may move with what it counts, and parts joined by "and" or "or" may change places."""
    assert all(guard(one, other) for guard in DEFAULT_GUARDS)
    assert all(guard(other, one) for guard in DEFAULT_GUARDS)


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("2 weeks", "14 days", True),
        ("2 weeks", "15 days", False),
        ("1 km", "1000 m", True),
        ("90 minutes", "1.5 hours", True),
        ("half an hour", "30 minutes", True),
        ("an hour and a half", "90 minutes", True),
        ("two and a half hours", "150 minutes", True),
        ("half a cup", "1/2 cup", True),
        ("2 years", "24 months", True),
        ("1 month", "30 days", False),
        ("1 kg", "1000 g", True),
        ("$1.50", "1.5 dollars", True),
        ("$0.50", "50 cents", True),
        ("$5", "€5", False),
        ("5 pounds", "£5", True),
        ("5 pounds", "5 lbs", True),
        ("£5", "5 lbs", False),
        ("5%", "5 per cent", True),
        ("60 mph", "60 miles per hour", True),
        ("60 mph", "60 km/h", False),
        ("20 °C", "20 degrees celsius", True),
        ("20 °C", "20 °F", False),
        ("5 business days", "5 days", False),
        ("load 5 MB", "load 5 Mb", False),
        ("load 5 MB", "load 5 mB", False),
        ("load 5 MB", "load 5 mb", True),
        ("8 Mb", "1 MB", True),
        ("5 mW lasers", "5 MW lasers", False),
        ("Is it 5 m?", "Is it 5 M?", False),
        ("is it 5 m", "IS IT 5 M", True),
        ("1.000 Euro", "1 Euro", False),
        ("one week", "1 week", True),
        ("a week", "7 days", True),
        ("a week", "2 weeks", False),
        ("one click", "1 click", True),
        ("which one is it for 1 person", "which one is it for a person", False),
        ("1/0 hours", "60 minutes", False),
        ("1e9 seconds", "60 minutes", False),
        ("at least 5 pills", "at most 5 pills", False),
        ("over 5 pills", "more than 5 pills", True),
        ("exactly 5 pills", "up to 5 pills", False),
        ("under $50", "over $50", False),
        ("under $50", "for $50", True),
        ("5 or more pills", "5 or fewer pills", False),
        ("18+ only", "18 or more only", True),
        ("10 + 3", "10 plus 3", True),
        ("10 + 3", "10 - 3", False),
        ("10 * 3", "10 / 3", False),
        ("do all birds fly", "do some birds fly", False),
        ("one of my 2 dogs has fleas", "both of my 2 dogs have fleas", False),
        ("do all birds fly", "do most birds fly", False),
        ("do all birds fly", "does every bird fly", True),
        ("can both parents apply", "can either parent apply", False),
    ],
)
def test_quantities_that_are_equal_and_such_as_are_not(one: str, other: str, agree: bool) -> None:
    """Units, bounds, operators and quantifiers decide whether two numbers are the same."""
    assert numbers_agree(one, other) is agree
    assert numbers_agree(other, one) is agree


def test_of_many_numbers_the_order_must_be_the_same() -> None:
    """Numbers are compared each with each up to a bound; beyond, the texts must be the same in the same order."""
    many = [f"{number} of {number}x" for number in range(MOST_NUMBERS)]
    assert numbers_agree(" and ".join(many), " and then ".join(many))
    assert not numbers_agree(" and ".join(many), " and ".join(reversed(many)))


def test_equal_quantities_get_the_same_words() -> None:
    """What two prompts write in other units or signs is no difference for the guards that compare words."""
    one, other = in_the_same_units(parse("Is 20 °C or 2 weeks ok?"), parse("Is it ok, 14 days, 20 celsius?"))
    assert one.words == tuple("is 20 celsius or 14 days ok".split())
    assert other.words == tuple("is it ok 14 days 20 celsius".split())
    assert len(one.words) == len(one.original)


NUMBERS = st.sampled_from(
    "2 3 10 47 100 3.11 3.12 2024-01-02 2024-02-01 -20 20 98-102 102-98 3/4 9:30 1.5 10.0.0.1 2.0.1 1e-5 5%".split()
)
PLAIN = st.sampled_from("for in from days people pills item limit cats km the is page upgrade".split())


@given(st.lists(st.one_of(NUMBERS, PLAIN), min_size=2, max_size=9), st.data())
def test_two_numbers_that_change_places_are_refused(template: list[str], data: st.DataObject) -> None:
    """Wherever two numbers stand in a prompt, to exchange them asks for another answer unless something joins them."""
    places = [place for place, word in enumerate(template) if any(map(str.isdigit, word))]
    assume(len(places) > 1)
    first, second = data.draw(st.permutations(places))[:2]
    assume(template[first] != template[second])
    turned = list(template)
    turned[first], turned[second] = template[second], template[first]
    assert not numbers_agree(" ".join(template), " ".join(turned))
    assert not numbers_agree(" ".join(turned), " ".join(template))


@given(
    st.lists(st.one_of(NUMBERS, PLAIN, st.sampled_from(["and", "or", "half", "a", "one", "minutes", "hours"]))),
    st.data(),
)
def test_no_order_of_prompts_is_preferred(words: list[str], data: st.DataObject) -> None:
    """Whether numbers agree does not depend on which prompt came first, and a prompt agrees with itself."""
    one, other = " ".join(words), " ".join(data.draw(st.permutations(words)))
    assert numbers_agree(one, one)
    assert numbers_agree(one, other) == numbers_agree(other, one)
