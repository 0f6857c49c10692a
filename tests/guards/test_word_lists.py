"""Word lists: each line is well-formed, says something that no other line says, and contradicts none."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from itertools import combinations, product

import pytest

from recallm.guards import word_lists
from recallm.guards.prompt import parse
from recallm.guards.word_lists import lines_of

PLAIN_LISTS = ("capitalised_words", "common_words", "known_words", "request_words", "restrictive_words")
GROUPED_LISTS = ("kinds", "opposites", "synonyms", "word_forms")
WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*(?:\+\+|#)?")

Pair = frozenset[str]


def sides(line: str) -> list[list[str]]:
    """Return the words of a line, as one list or as the lists on both sides of a stroke."""
    return [side.split() for side in line.rpartition(":")[2].split("/")]


def words(line: str) -> list[str]:
    """Return all words of a line."""
    return [word for side in sides(line) for word in side]


def pairs(line: str) -> set[Pair]:
    """Return the pairs of words that a line relates."""
    parts = sides(line)
    return set(map(frozenset, product(*parts) if len(parts) > 1 else combinations(parts[0], 2)))


def pairs_of(name: str) -> set[Pair]:
    """Return the pairs of words that a list relates."""
    return set().union(*map(pairs, lines_of(name)))


def repeated(items: Iterable[str]) -> list[str]:
    """Return what occurs more than once."""
    return [item for item, count in Counter(items).items() if count > 1]


def test_every_list_is_checked() -> None:
    """The tests below know every file of the directory by its name."""
    names = {path.name for path in files("recallm.guards").joinpath("data").iterdir()}
    assert names == {f"{name}.txt" for name in PLAIN_LISTS + GROUPED_LISTS}


@pytest.mark.parametrize("name", PLAIN_LISTS + GROUPED_LISTS)
def test_a_list_opens_with_its_format_and_has_no_blank_or_repeated_lines(name: str) -> None:
    """The first line of a list, and only the first, is a comment."""
    text = files("recallm.guards").joinpath("data", f"{name}.txt").read_text(encoding="utf-8")
    head, *lines = text.removesuffix("\n").split("\n")
    assert head.startswith("# One ")
    assert lines == lines_of(name)
    assert [line for line in lines if line != " ".join(line.split()) or not line] == []
    assert repeated(lines) == []


@pytest.mark.parametrize("name", PLAIN_LISTS + GROUPED_LISTS)
def test_the_lines_of_a_list_are_sorted(name: str) -> None:
    """A word is easy to find, and two people who add words seldom change the same place."""
    assert lines_of(name) == sorted(lines_of(name))


@pytest.mark.parametrize("name", PLAIN_LISTS + GROUPED_LISTS)
def test_words_are_such_as_a_parsed_prompt_may_have(name: str) -> None:
    """A word with a capital, a digit or an apostrophe, or a number in words, would never be compared with any."""
    listed = [word for line in lines_of(name) for word in words(line)]
    assert [word for word in listed if word != word.lower() or not WORD.fullmatch(word) or parse(word).numbers] == []


@pytest.mark.parametrize("name", PLAIN_LISTS)
def test_a_plain_list_has_one_word_a_line(name: str) -> None:
    """A list of words has nothing but words."""
    assert [line for line in lines_of(name) if words(line) != [line]] == []


@pytest.mark.parametrize("name", GROUPED_LISTS)
def test_a_line_relates_at_least_two_words_and_each_word_once(name: str) -> None:
    """A line of one word says nothing, and a word has no relation to itself."""
    assert [line for line in lines_of(name) if not pairs(line)] == []
    assert [line for line in lines_of(name) if repeated(words(line))] == []


@pytest.mark.parametrize("name", GROUPED_LISTS)
def test_every_line_says_something_that_no_other_line_says(name: str) -> None:
    """Each line relates two words that no other line of its list relates."""
    said = Counter(pair for line in lines_of(name) for pair in pairs(line))
    assert [line for line in lines_of(name) if all(said[pair] > 1 for pair in pairs(line))] == []


def test_synonyms_are_sorted_within_their_line() -> None:
    """No synonym of a line comes before the others by its meaning."""
    assert [line for line in lines_of("synonyms") if words(line) != sorted(words(line))] == []


def test_opposites_have_two_sorted_sides() -> None:
    """A line of opposites has one stroke; its sides, and the words of each, are in alphabetical order."""
    lines = lines_of("opposites")
    assert [line for line in lines if not re.fullmatch(r"[^/]+ / [^/]+", line)] == []
    assert [line for line in lines if sides(line) != sorted(sorted(side) for side in sides(line))] == []


def test_kinds_have_one_name_each() -> None:
    """A line of kinds is a name of its own, a colon, and the members."""
    lines = lines_of("kinds")
    assert [line for line in lines if not re.fullmatch(r"[a-z-]+: [^:]+", line)] == []
    assert repeated(line.partition(":")[0] for line in lines) == []


def test_no_word_both_frames_a_request_and_is_common() -> None:
    """A request word is left out of comparisons, a common word is compared."""
    assert word_lists.request_words() & word_lists.common_words() == frozenset()


def test_known_words_have_no_synonyms() -> None:
    """A word in a group of synonyms is known anyway."""
    assert set(lines_of("known_words")) & {word for line in lines_of("synonyms") for word in words(line)} == set()


@pytest.mark.parametrize("name", ["synonyms", "word_forms"])
def test_no_opposites_are_synonyms_or_forms_of_one_word(name: str) -> None:
    """Two words cannot mean the same and the opposite."""
    assert pairs_of("opposites") & pairs_of(name) == set()


def test_importing_the_guards_reads_no_list() -> None:
    """A program that never asks a guard does not pay for the word lists."""
    program = (
        "from recallm.guards import default, word_lists as lists\n"
        "made = [each for each in vars(lists).values() if hasattr(each, 'cache_info')]\n"
        "assert made and not any(each.cache_info().currsize for each in made)\n"
        "default.wording_agrees('How do I store basil?', 'How do I grow basil?')\n"
        "assert any(each.cache_info().currsize for each in made)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_words_of_a_group_share_its_number() -> None:
    """A word of several groups shares a number with the words of each; a known word has a group of its own."""
    groups = word_lists.synonyms()
    assert groups["change"] & groups["swap"]
    assert groups["change"] & groups["edit"]
    assert not groups["swap"] & groups["edit"]
    assert len(groups["oven"]) == 1


def test_the_name_of_a_kind_is_no_member_of_it() -> None:
    """The word before the colon names a kind for readers of the list only."""
    assert "account-action" not in word_lists.kinds()
    assert word_lists.kinds()["monday"] == word_lists.kinds()["friday"]


def test_opposites_are_mutual() -> None:
    """Each word of one side is an opposite of each word of the other."""
    table = word_lists.opposites()
    assert {"delete", "remove", "subtract"} <= table["add"]
    assert "add" in table["delete"]
    assert "remove" not in table["delete"]
    assert [(one, other) for one, others in table.items() for other in others if one not in table[other]] == []


def test_words_of_every_kind_of_list_are_known_to_be_spelled_right() -> None:
    """Request words, common words, known words, synonyms, members of kinds and opposites count as known."""
    known = word_lists.words_in_any_list()
    assert {"please", "achieve", "oven", "fridge", "monday", "encrypt"} <= known
    assert "fridgge" not in known
