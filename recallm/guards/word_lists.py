"""The word lists of the guards, each read from ``data`` when a guard first needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
def gradable_words() -> frozenset[str]:
    """Return the adjectives that form their degrees by endings: "cheap", "cheaper", "cheapest"."""
    return frozenset(lines_of("gradable_words"))


@cache
def role_verbs() -> frozenset[str]:
    """Return verbs that say something else if what stands on their two sides changes places."""
    return frozenset(lines_of("role_verbs"))


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
def function_words() -> Mapping[str, frozenset[str]]:
    """Return the words that any prompt of a language may have, by the code of the language."""
    return _by_language("function_words")


@cache
def telling_words() -> Mapping[str, frozenset[str]]:
    """Return other words of a language that tell of it, by the code of the language."""
    return _by_language("telling_words")


@cache
def word_endings() -> Mapping[str, frozenset[str]]:
    """Return the endings by which longer words of a language are known, by the code of the language."""
    return _by_language("word_endings")


@cache
def negations() -> Mapping[str, Sequence[str]]:
    """Return, by the code of a language, its words that negate, its words for "without", and what does not negate.

    The last are phrases, whose words are joined by hyphens. Each of the three is a text of words between spaces.
    """
    lines = (line.partition(":") for line in lines_of("negations"))
    return {language: parts.replace(" -", "").split("/") for language, _, parts in lines}


@cache
def exclusions() -> Mapping[str, Sequence[Sequence[str]]]:
    """Return, by the code of a language, its exclusions: parts of which a word of one excludes those of the others.

    A part is a text of words between spaces; a star at the end of a word stands for any ending.
    """
    found: dict[str, list[list[str]]] = {}
    for line in lines_of("exclusions"):
        language, _, parts = line.partition(":")
        found.setdefault(language, []).append(parts.split("/"))
    return found


@cache
def narrowing_words() -> Mapping[str, frozenset[str]]:
    """Return the words that ask for a form, a manner or a time, by the code of the language."""
    return _by_language("narrowing_words")


@cache
def english_too() -> frozenset[str]:
    """Return words of other languages that English texts have, too."""
    return frozenset(lines_of("english_too"))


@cache
def words_in_any_list() -> frozenset[str]:
    """Return all words that are no misspellings of others, because a list has them."""
    return request_words() | common_words() | synonyms().keys() | kinds().keys() | opposites().keys()


def _by_language(name: str) -> Mapping[str, frozenset[str]]:
    """Return the words of each language in a list that has one language a line."""
    lines = (line.partition(":") for line in lines_of(name))
    return {language: frozenset(words.split()) for language, _, words in lines}


def _groups(groups: Iterable[Iterable[str]]) -> Mapping[str, frozenset[int]]:
    """Return, for each word, the numbers of the groups that it is in."""
    found: dict[str, set[int]] = {}
    for number, words in enumerate(groups):
        for word in words:
            found.setdefault(word, set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}
