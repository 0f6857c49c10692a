"""Phrases that count as one word: "get rid of" is "remove", and "in short" is "briefly"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from recallm.guards.word_lists import lines_of, word_forms

_VOWELS = frozenset("aeiou")


class Phrase(NamedTuple):
    """Some words in a row, and what they count as.

    Attributes:
        words: the words.
        word: the word that takes their place; empty if they are left out.
        asks_for: the form or time that they ask for: "as-json", "this-week"; None if they ask for none.
    """

    words: tuple[str, ...]
    word: str
    asks_for: str | None


def phrases_in(words: Sequence[str]) -> list[tuple[int, int, Phrase]]:
    """Return where phrases begin and end, and the longest that begins there, from left to right without overlaps.

    >>> [(at, end, phrase.word) for at, end, phrase in phrases_in("how do i get rid of ants".split())]
    [(3, 6, 'remove')]
    """
    phrases, sizes = _phrases()
    found: list[tuple[int, int, Phrase]] = []
    if sizes.keys().isdisjoint(words):
        return found
    words = tuple(words)
    end = 0
    for at, word in enumerate(words):
        if at < end or word not in sizes:
            continue
        for size in sizes[word]:
            phrase = phrases.get(words[at : at + size])
            if phrase is not None:
                end = at + size
                found.append((at, end, phrase))
                break
    return found


@cache
def _phrases() -> tuple[Mapping[tuple[str, ...], Phrase], Mapping[str, Sequence[int]]]:
    """Return the phrases of all lists by their words, and by their first word how many words they have, most first."""
    phrases = {phrase.words: phrase for phrase in (*_units(), *_forms(), *_times(), *_fillers())}
    sizes: dict[str, set[int]] = {}
    for first, *rest in phrases:
        sizes.setdefault(first, set()).add(1 + len(rest))
    return phrases, {first: sorted(found, reverse=True) for first, found in sizes.items()}


def _units() -> Iterator[Phrase]:
    for name, (first, *rest) in _listed("phrases"):
        for form in _forms_of(first):
            yield Phrase((form, *rest), name, None)


def _forms() -> Iterator[Phrase]:
    for name, words in _listed("forms"):
        yield Phrase(tuple(words), name.rpartition("-")[2], name)


def _times() -> Iterator[Phrase]:
    for name, words in _listed("times"):
        yield Phrase(tuple(words), name, name)


def _fillers() -> Iterator[Phrase]:
    for line in lines_of("fillers"):
        yield Phrase(tuple(line.split()), "", None)


def _listed(list_name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each phrase of a list after the word or name that the line gives it."""
    for line in lines_of(list_name):
        name, _, phrases = line.partition(": ")
        for phrase in phrases.split(", "):
            yield name, phrase.split()


def _forms_of(word: str) -> Iterable[str]:
    """Return a word with its regular endings, of which some may be no words, and its irregular forms."""
    numbers = word_forms().get(word, frozenset())
    irregular = {form for form, others in word_forms().items() if not numbers.isdisjoint(others)}
    stem = word.removesuffix("e")
    doubled = word + word[-1] if len(word) > 2 and word[-1] not in "wxy" and word[-2] in _VOWELS else word
    return {word, f"{word}s", f"{word}es", f"{stem}ed", f"{stem}ing", f"{doubled}ed", f"{doubled}ing"} | irregular
