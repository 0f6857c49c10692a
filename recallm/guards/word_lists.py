"""The word lists of the guards, each read from ``data`` when a guard first needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache


def lines_of(name: str) -> list[str]:
    """Return the lines of a list without its comments."""
    # Imported on use: it takes longer to import than the guards do.
    from importlib.resources import files

    text = files("recallm.guards").joinpath("data", f"{name}.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


@cache
def request_words() -> frozenset[str]:
    """Return the words that frame a request and do not count when guards compare what it is about."""
    return frozenset(lines_of("request_words"))


@cache
def common_words() -> frozenset[str]:
    """Return verbs, adjectives and abstract nouns that fit any subject: another one seldom changes what is asked."""
    return frozenset(lines_of("common_words"))


@cache
def restrictive_words() -> frozenset[str]:
    """Return the words that narrow a request, so that a prompt with one asks something else than a prompt without."""
    return frozenset(lines_of("restrictive_words"))


@cache
def capitalised_words() -> frozenset[str]:
    """Return the words, in lower case, that mean something else with a capital."""
    return frozenset(lines_of("capitalised_words"))


@cache
def synonyms() -> Mapping[str, frozenset[int]]:
    """Return, for each word, the numbers of the groups of synonyms that it is in; a known word is a group by itself."""
    return _groups(line.split() for line in lines_of("synonyms") + lines_of("known_words"))


@cache
def word_forms() -> Mapping[str, frozenset[int]]:
    """Return, for each form of an irregular word, the numbers of the words that it is a form of."""
    return _groups(line.split() for line in lines_of("word_forms"))


@cache
def kinds() -> Mapping[str, frozenset[int]]:
    """Return, for each word, the numbers of the kinds that it is a member of."""
    return _groups(line.partition(":")[2].split() for line in lines_of("kinds"))


@cache
def opposites() -> Mapping[str, frozenset[str]]:
    """Return, for each word, its opposites."""
    found: dict[str, set[str]] = {}
    for line in lines_of("opposites"):
        left, right = (side.split() for side in line.split("/"))
        for one in left:
            found.setdefault(one, set()).update(right)
        for other in right:
            found.setdefault(other, set()).update(left)
    return {word: frozenset(others) for word, others in found.items()}


@cache
def words_in_any_list() -> frozenset[str]:
    """Return all words that are no misspellings of others, because a list has them."""
    return request_words() | common_words() | synonyms().keys() | kinds().keys() | opposites().keys()


def _groups(groups: Iterable[Iterable[str]]) -> Mapping[str, frozenset[int]]:
    """Return, for each word, the numbers of the groups that it is in."""
    found: dict[str, set[int]] = {}
    for number, words in enumerate(groups):
        for word in words:
            found.setdefault(word, set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}
