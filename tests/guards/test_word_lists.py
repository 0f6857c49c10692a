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
from recallm.guards.phrases import phrases_in
from recallm.guards.prompt import parse
from recallm.guards.word_lists import lines_of

PLAIN_LISTS = (
    "capitalised_words",
    "common_words",
    "known_words",
    "request_words",
    "restrictive_words",
    "role_verbs",
    "gradable_words",
)
LANGUAGE_LISTS = ("exclusions", "function_words", "narrowing_words", "negations", "telling_words", "word_endings")
GROUPED_LISTS = ("kinds", "opposites", "synonyms", "word_forms")
PHRASE_LISTS = ("forms", "phrases", "times")
MEASURES = ("units",)
OTHER_LISTS = ("english_too", "fillers")
ALL_LISTS = (*PLAIN_LISTS, *LANGUAGE_LISTS, *GROUPED_LISTS, *PHRASE_LISTS, *MEASURES, *OTHER_LISTS)
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
    assert names == {f"{name}.txt" for name in ALL_LISTS}


@pytest.mark.parametrize("name", ALL_LISTS)
def test_a_list_opens_with_its_format_and_has_no_blank_or_repeated_lines(name: str) -> None:
    """The first line of a list, and only the first, is a comment."""
    text = files("recallm.guards").joinpath("data", f"{name}.txt").read_text(encoding="utf-8")
    head, *lines = text.removesuffix("\n").split("\n")
    assert head.startswith("# One ")
    assert lines == lines_of(name)
    assert [line for line in lines if line != " ".join(line.split()) or not line] == []
    assert repeated(lines) == []


@pytest.mark.parametrize("name", [name for name in ALL_LISTS if name not in MEASURES])
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


def phrases(name: str) -> list[str]:
    """Return the phrases of a list."""
    lines = lines_of(name)
    return lines if name == "fillers" else [each for line in lines for each in line.partition(": ")[2].split(", ")]


@pytest.mark.parametrize("name", PHRASE_LISTS)
def test_a_line_gives_a_name_to_sorted_phrases(name: str) -> None:
    """A line of phrases has a name of its own, a colon, and phrases in alphabetical order."""
    lines = [line.partition(": ") for line in lines_of(name)]
    assert [line for line in lines if not re.fullmatch(r"[a-z-]+", line[0])] == []
    assert repeated(line[0] for line in lines) == []
    assert [line for line in lines if line[2].split(", ") != sorted(line[2].split(", "))] == []


def test_no_phrase_is_listed_twice() -> None:
    """A phrase counts as one word, asks for one form or time, or is left out."""
    assert repeated(each for name in (*PHRASE_LISTS, "fillers") for each in phrases(name)) == []


@pytest.mark.parametrize("name", [*PHRASE_LISTS, "fillers"])
def test_phrases_are_found_in_a_prompt(name: str) -> None:
    """A phrase is written as the words of a prompt are: in lower case, with digits, without apostrophes."""
    found = {each: list(phrases_in(each.split())) for each in phrases(name)}
    assert [each for each, hits in found.items() if [hit.words for _, _, hit in hits] != [tuple(each.split())]] == []
    assert [each for each in found if re.search(r"[^a-z0-9 -]", each)] == []


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


@pytest.mark.parametrize("name", LANGUAGE_LISTS)
def test_a_line_of_a_language_opens_with_its_code(name: str) -> None:
    """A line is a code of two letters, a colon, and parts of words in alphabetical order, none of them twice."""
    lines = lines_of(name)
    assert [line for line in lines if not re.fullmatch(r"[a-z]{2}: \S.*", line)] == []
    assert [line for line in lines if sides(line) != [sorted(side) for side in sides(line)]] == []
    assert [line for line in lines if repeated(word for word in words(line) if word != "-")] == []
    assert [line for line in lines if line != line.lower()] == []


@pytest.mark.parametrize("name", ["function_words", "narrowing_words", "negations", "telling_words", "word_endings"])
def test_a_language_has_one_line(name: str) -> None:
    """All words of a language are in one place."""
    assert repeated(line.partition(":")[0] for line in lines_of(name)) == []


@pytest.mark.parametrize("name", ["exclusions", "narrowing_words"])
def test_a_language_that_is_compared_has_function_words(name: str) -> None:
    """Without them every word would count as one that matters."""
    assert {line.partition(":")[0] for line in lines_of(name)} <= word_lists.function_words().keys()


def test_exclusions_have_two_parts_or_words_that_replace_each_other() -> None:
    """A word alone excludes nothing and is replaced by nothing, and a star ends a word."""
    lines = lines_of("exclusions")
    assert [line for line in lines if len(words(line)) < 2 or not all(sides(line))] == []
    assert [word for line in lines for word in words(line) if not re.fullmatch(r"[^\W_]+[*]?", word)] == []


def test_negations_have_three_parts() -> None:
    """A line has words that negate, words for "without", and phrases that negate nothing; a hyphen is none."""
    assert [line for line in lines_of("negations") if len(sides(line)) != 3 or not all(sides(line))] == []


def test_no_word_tells_a_language_twice() -> None:
    """A function word is listed as such only."""
    function, telling = word_lists.function_words(), word_lists.telling_words()
    assert {code: function[code] & words for code, words in telling.items() if function[code] & words} == {}
