"""What is read of the words of a prompt alone, whatever they mean; it is kept with the prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import pairwise
from typing import NamedTuple

_WITHOUT_INITIAL = frozenset("of the and for".split())
_MODALITIES = {
    **dict.fromkeys("must mandatory required".split(), "must"),
    **dict.fromkeys("should ought".split(), "should"),
    **dict.fromkeys("can could may might able possible allowed".split(), "can"),
}
_MUST_TO = frozenset("have has need needs".split())
_ONESELF = frozenset("i we".split())
_PAST = frozenset("was were did had".split())
_DONE = _PAST | frozenset("has have already got ago".split())
_AHEAD = frozenset("will gonna".split())
_AHEAD_TO = frozenset("about going planning supposed".split())
_TENSED = _PAST | frozenset("is are am do does has will gonna".split())
THIRD_PERSON = frozenset("his her hers their theirs he she they him them someone somebody".split())
_NOTHING: frozenset[str] = frozenset()


class Grammar(NamedTuple):
    """What the words of a prompt tell of duty, time and person.

    Attributes:
        modalities: how often it says "must", "should", "can" or a synonym of it; "need" is what oneself has to do.
        is_tensed: whether a verb shows whether the prompt is about the past.
        is_past: whether such a verb is in the past tense.
        is_ahead: whether it is about what is to come: "will", "going to", "about to".
        done: the words that say that something has happened: "was", "already", "asked".
        has_third_person: whether it is about a third person: "his", "someone".
    """

    modalities: Mapping[str, int]
    is_tensed: bool
    is_past: bool
    is_ahead: bool
    done: frozenset[str]
    has_third_person: bool


class Wording(NamedTuple):
    """What is read of the words of a prompt.

    Attributes:
        vocabulary: each of the words once.
        counts: how often each of them occurs, in the order in which they first occur.
        joined: the words without anything between them, and without hyphens.
        initials: their first letters, those of articles and the like left out.
        grammar: what they tell of duty, time and person.
    """

    vocabulary: frozenset[str]
    counts: Mapping[str, int]
    joined: str
    initials: str
    grammar: Grammar


def wording_of(words: Sequence[str]) -> Wording:
    """Return what is read of the words of a prompt, in lower case and in their order.

    >>> wording_of("am i going to have to sign-in".split()).grammar.modalities
    Counter({'must': 1})
    """
    counts = Counter(words)
    vocabulary = frozenset(counts)
    return Wording(
        vocabulary,
        counts,
        "".join(words).replace("-", ""),
        "".join([word[0] for word in words if word not in _WITHOUT_INITIAL]),
        _grammar_of(words, vocabulary),
    )


def _grammar_of(words: Sequence[str], vocabulary: Set[str]) -> Grammar:
    before_to = {word for word, following in pairwise(words) if following == "to"} if "to" in vocabulary else _NOTHING
    return Grammar(
        modalities=_modalities(words, before_to),
        is_tensed=not _TENSED.isdisjoint(vocabulary),
        is_past=not _PAST.isdisjoint(vocabulary),
        is_ahead=not (_AHEAD.isdisjoint(vocabulary) and _AHEAD_TO.isdisjoint(before_to)),
        # "need" and "bleed" are no past tense.
        done=frozenset({word for word in vocabulary if word in _DONE or (word[-2:] == "ed" and word[-3:] != "eed")}),
        has_third_person=not THIRD_PERSON.isdisjoint(vocabulary),
    )


def _modalities(words: Sequence[str], before_to: Set[str]) -> Mapping[str, int]:
    found = Counter([_MODALITIES[word] for word in words if word in _MODALITIES])
    if not _MUST_TO.isdisjoint(before_to):
        found.update(_duties(words))
    return found


def _duties(words: Sequence[str]) -> Iterator[str]:
    """Yield "need" for each duty of oneself, "must" for each other; one that begins a prompt is a wish: "I need to"."""
    for at, (word, following) in enumerate(pairwise(words)):
        if following == "to" and word in _MUST_TO:
            if at and words[at - 1] not in _ONESELF:
                yield "must"
            elif at > 1:
                yield "need"
