"""Order: words of a prompt that have changed places, and the stretch in which two prompts differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.order import are_exchanged, arguments_keep_their_places, have_turned_names, trimmed
from recallm.guards.prompt import parse


@pytest.mark.parametrize(
    ("one", "other", "exchanged"),
    [
        ("convert miles to inches", "convert inches to miles", True),
        ("convert miles to inches", "convert inches to metres", False),
        ("convert miles to inches", "convert miles to inches", False),
        ("move files from x to y and delete x", "move files from y to x and delete y", True),
        ("tea beats ale is tea good", "ale beats tea is ale good", True),
        ("was tea or ale first tell me of tea", "was tea or ale first tell me of ale", True),
        ("was tea first", "was ale first", False),
        ("compare tea and coffee", "compare coffee and tea", False),
        ("is tea or coffee better", "is coffee or tea better", False),
        ("is a cat or the dog better", "is a dog or the cat better", False),
        ("real gas and ideal gas", "ideal gas and real gas", False),
        ("should i go in may or in june", "should i go in june or in may", False),
        ("i am a parent and a nurse has called", "i am a nurse and a parent has called", True),
        ("may i show my dog the cat", "may i show my cat the dog", True),
        ("replace tea with coffee", "replace coffee with tea", True),
        ("compare tea with coffee", "compare coffee with tea", False),
        ("may i mix tea with coffee", "may i mix coffee with tea", False),
        ("who is martin luther", "who is luther martin", True),
        ("is the big red car fast", "is the red big car fast", False),
        ("he said she lied", "she said he lied", True),
        ("jazz playlist", "playlist jazz", False),
        ("java string reverse", "reverse string java", False),
        ("man bites dog", "dog bites man", True),
        ("cats not dogs", "dogs not cats", True),
        ("windows under linux", "linux under windows", True),
        ("is it 5 or 10", "is it 10 or 5", False),
    ],
)
def test_words_in_each_others_place(one: str, other: str, exchanged: bool) -> None:
    """Two words have changed places, unless they are joined by "and" or "or", or are mere keywords."""
    assert are_exchanged(one.split(), other.split()) is exchanged
    assert are_exchanged(other.split(), one.split()) is exchanged


@pytest.mark.parametrize(
    ("one", "other", "keep"),
    [
        ("mv a.txt b.txt", "mv b.txt a.txt", False),
        ("What does diff old.txt new.txt show?", "What does diff new.txt old.txt show?", False),
        ("diff old.txt new.txt?", "diff new.txt old.txt?", False),
        ("cp -r src dst", "cp -r dst src", False),
        ("rsync --delete here there", "rsync --delete there here", False),
        ("ls -l -a", "ls -a -l", True),
        ("compare a.txt and b.txt", "compare b.txt and a.txt", True),
        ("cat -car site:a.com", "site:a.com cat -car", True),
        ("json.loads python error", "python json.loads error", True),
        ("java string reverse", "reverse string java", True),
    ],
)
def test_arguments_that_have_changed_places(one: str, other: str, keep: bool) -> None:
    """The arguments of a command and files side by side have an order; options and keywords have none."""
    assert arguments_keep_their_places(one, other) is keep
    assert arguments_keep_their_places(other, one) is keep


@pytest.mark.parametrize(
    ("one", "other", "turned"),
    [
        ("Was Martin Luther a monk?", "Luther Martin was a monk?", True),
        ("James Dean movies", "Dean James movies", True),
        ("Was Martin Luther a monk?", "Was Luther, or Martin, a monk?", False),
        ("What genre is Drake? Is he pop?", "Is Drake of the genre pop?", False),
        ("was martin luther a monk", "was luther martin a monk", False),
    ],
)
def test_names_that_have_changed_places(one: str, other: str, turned: bool) -> None:
    """Two words with capitals beside each other are another name the other way round."""
    assert have_turned_names(parse(one), parse(other)) is turned
    assert have_turned_names(parse(other), parse(one)) is turned


@pytest.mark.parametrize(
    ("one", "other", "rest"),
    [
        ("the red car", "the blue car", ("red", "blue")),
        ("the car", "the blue car", ("", "blue")),
        ("a a", "a a a", ("", "a")),
        ("same words", "same words", ("", "")),
        ("one", "other", ("one", "other")),
        ("", "words", ("", "words")),
    ],
)
def test_what_lies_between_a_common_beginning_and_end(one: str, other: str, rest: tuple[str, str]) -> None:
    """The words that two prompts share at their beginning and at their end are taken off, each once."""
    assert tuple(" ".join(words) for words in trimmed(one.split(), other.split())) == rest


WORDS = st.lists(st.sampled_from("from to and tea coffee i me my boss calls".split()), max_size=7)


@given(WORDS, WORDS)
def test_no_order_of_prompts_is_preferred(one: list[str], other: list[str]) -> None:
    """Words have changed places between two prompts in both orders or in neither; no prompt differs from itself."""
    assert are_exchanged(one, other) == are_exchanged(other, one)
    assert not are_exchanged(one, one)
