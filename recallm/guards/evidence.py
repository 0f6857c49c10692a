"""What differs between two prompts, and how much it speaks against one answer for both.

The more alike two prompts are, the more likely is the little that differs to matter: "the cheapest flight to Rome" and
"the fastest flight to Rome" differ in one word, and that word decides. Two prompts that say the same in other words
differ in many places. So what differs is weighed together with how much of the prompts it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum, auto
from functools import lru_cache
from math import fsum
from typing import NamedTuple

from recallm.guards.order import DETERMINERS, MOST_WORDS, trimmed
from recallm.guards.prompt import NEGATORS, ParsedPrompt, parse
from recallm.guards.word_lists import restrictive_words
from recallm.guards.words import are_equivalent, are_of_one_kind, are_opposed, is_common, is_request_word

KEPT_DIFFERENCES = 256
"""How many comparisons are kept: the guards ask for the same one in turn."""

MAX_EXCHANGED_WORDS = 4
"""Most words in one place of a prompt that count as one exchange or insertion; more count as rewording.

On tests/data/pairs_dev.jsonl, all guards refuse 94.6 % of the look-alikes and 6.0 % of the rewordings with 3, 96.4 %
and 6.8 % with 4, 96.8 % and 10.0 % with 5. `WEIGHTS` were learned with 4 and not again for the others.
"""

_MAX_UNEXPLAINED_WORDS = 6
"""Most unexplained words of two prompts that count; more of them do not add to the weight."""

_PREPOSITIONS = frozenset("for in on with without using via from to at into against by as".split())
_REVERSING = frozenset("least less".split())
_MUST = frozenset("must mandatory required".split())
_SHOULD = frozenset("should ought".split())
_CAN = frozenset("can could may might able possible allowed".split())
_PAST = frozenset("was were did had".split())
_DONE = _PAST | frozenset("has have already got ago".split())
_AHEAD = frozenset("will gonna might".split())
_TENSED = _PAST | frozenset("is are am do does has will gonna".split())
_THIRD = frozenset("his her hers their theirs he she they him them someone somebody".split())


class Evidence(StrEnum):
    """What may differ between two prompts.

    Words are special if they are not common (`words.is_common`). An exchange or an insertion is one stretch of at most
    `MAX_EXCHANGED_WORDS` words, and all that differs.

    Attributes:
        OPPOSITES: each prompt has a word whose opposite the other has: "import", "export".
        OPPOSITE_PLACES: likewise, but both words frame a request: "before", "after".
        KINDS: the prompts have different members of one kind: "monday", "friday".
        NAMES: each prompt has a name that the other lacks.
        A_NAME: one prompt has a name that the other lacks.
        ORDER_OF_NAMES: the prompts share their names, in another order.
        NEGATION: one prompt negates, the other does not.
        RESTRICTION: one prompt is narrowed by a word such as "only" or "free".
        PHRASE: only one prompt says more, and does so after a preposition: "on Windows".
        SPECIAL_EXCHANGE: each prompt has special words in the place of the other's.
        COMMON_EXCHANGE: likewise, but one prompt has only common words there.
        SPECIAL_WORDING: each prompt has special words that the other lacks, in several places.
        COMMON_WORDING: likewise, but one prompt has only common words that the other lacks.
        SPECIAL_INSERTION: one prompt is the other with a few words inserted, special ones among them.
        COMMON_INSERTION: likewise, but all of them are common words.
        SPECIAL_ADDITION: only one prompt says more, in special words, and both differ elsewhere, too.
        COMMON_ADDITION: likewise, but in common words.
        SMALL_EXCHANGE: an addition, and all that differs is one short stretch in each prompt.
        ADVICE: one prompt asks what one should do, the other what one must or can do.
        MODALITY: one prompt asks what one must do, the other what one can do.
        TENSE: one prompt is in the past tense, the other in the present or future.
        TIME: one prompt is about what is to come, the other about what is done.
        PERSON: only one prompt is about a third person.
    """

    OPPOSITES = auto()
    OPPOSITE_PLACES = auto()
    KINDS = auto()
    NAMES = auto()
    A_NAME = auto()
    ORDER_OF_NAMES = auto()
    NEGATION = auto()
    RESTRICTION = auto()
    PHRASE = auto()
    SPECIAL_EXCHANGE = auto()
    COMMON_EXCHANGE = auto()
    SPECIAL_WORDING = auto()
    COMMON_WORDING = auto()
    SPECIAL_INSERTION = auto()
    COMMON_INSERTION = auto()
    SPECIAL_ADDITION = auto()
    COMMON_ADDITION = auto()
    SMALL_EXCHANGE = auto()
    ADVICE = auto()
    MODALITY = auto()
    TENSE = auto()
    TIME = auto()
    PERSON = auto()


class Difference(NamedTuple):
    """How a prompt and a cached prompt differ.

    Attributes:
        ours: words of the prompt that frame no request and have no equivalent in the cached prompt.
        theirs: likewise, words of the cached prompt.
        evidence: in what respects they differ.
        weight: the log-odds that they need different answers; above 0, they more likely do than not.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    evidence: frozenset[Evidence]
    weight: float


WEIGHTS: Mapping[Evidence, float] = {
    Evidence.SPECIAL_EXCHANGE: 2.51,
    Evidence.COMMON_EXCHANGE: 2.1,
    Evidence.OPPOSITES: 2.01,
    Evidence.SPECIAL_INSERTION: 1.97,
    Evidence.TIME: 1.54,
    Evidence.ADVICE: 1.49,
    Evidence.MODALITY: 1.46,
    Evidence.OPPOSITE_PLACES: 1.45,
    Evidence.SMALL_EXCHANGE: 0.99,
    Evidence.NEGATION: 0.96,
    Evidence.KINDS: 0.87,
    Evidence.TENSE: 0.81,
    Evidence.NAMES: 0.61,
    Evidence.PHRASE: 0.61,
    Evidence.A_NAME: 0.52,
    Evidence.PERSON: 0.49,
    Evidence.RESTRICTION: 0.47,
    Evidence.SPECIAL_ADDITION: 0.45,
    Evidence.COMMON_INSERTION: 0.43,
    Evidence.ORDER_OF_NAMES: 0.23,
    Evidence.COMMON_WORDING: -0.25,
    Evidence.COMMON_ADDITION: -0.28,
    Evidence.SPECIAL_WORDING: -0.31,
}
"""How much each evidence adds to the log-odds that two prompts need different answers.

These and the three numbers below are the constants of a logistic regression; tests/benchmarks/learn_guards.py prints
them.
"""

BIAS = -0.33
"""The log-odds for two prompts in which nothing differs."""

PER_SHARE = -2.59
"""Times the share of words that the prompts do not share, 0 to 1: the more is reworded, the less one word matters."""

PER_WORD = 0.32
"""Times the number of unexplained words, as a share of `_MAX_UNEXPLAINED_WORDS`."""


@lru_cache(KEPT_DIFFERENCES)
def compare(prompt: str, cached_prompt: str) -> Difference:
    """Return how two prompts differ. Their order changes nothing but which words are ``ours`` and ``theirs``.

    >>> found = compare("How do I store fresh basil?", "How do I grow fresh basil?")
    >>> found.ours, found.theirs, *found.evidence
    (('store',), ('grow',), <Evidence.COMMON_EXCHANGE: 'common_exchange'>)
    """
    one, other = parse(prompt), parse(cached_prompt)
    only = unshared(one, other)
    ours, theirs = _unexplained(one, other, only)
    evidence = frozenset(_evidence(one, other, only, (ours, theirs)))
    share, words = extent(one, other, only, (ours, theirs))
    weight = BIAS + fsum(WEIGHTS[name] for name in evidence) + PER_SHARE * share + PER_WORD * words
    return Difference(ours, theirs, evidence, weight)


Sides = tuple[Sequence[str], Sequence[str]]


def unshared(one: ParsedPrompt, other: ParsedPrompt) -> Sides:
    """Return the words of each prompt that the other does not have, or not as often."""
    ours, theirs = Counter(one.words), Counter(other.words)
    return tuple((ours - theirs).elements()), tuple((theirs - ours).elements())


def extent(one: ParsedPrompt, other: ParsedPrompt, only: Sides, unexplained: Sides) -> tuple[float, float]:
    """Return how much of two prompts differs.

    Args:
        one: a prompt.
        other: the other prompt.
        only: what `unshared` returns for them.
        unexplained: ``ours`` and ``theirs`` of their `Difference`.

    Returns:
        The share of all words that are not shared, 0 to 1, and the number of unexplained words as a share of
        `_MAX_UNEXPLAINED_WORDS`, at most 1.
    """
    share = (len(only[0]) + len(only[1])) / max(1, len(one.words) + len(other.words))
    count = len(unexplained[0]) + len(unexplained[1])
    return share, min(_MAX_UNEXPLAINED_WORDS, count) / _MAX_UNEXPLAINED_WORDS


def _unexplained(one: ParsedPrompt, other: ParsedPrompt, only: Sides) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the unshared words of each prompt that frame no request and that the other prompt does not explain."""
    ours, theirs = ([word for word in words if not is_request_word(word) and not word[0].isdigit()] for words in only)
    if len(ours) + len(theirs) > MOST_WORDS:
        return tuple(ours), tuple(theirs)
    for word in tuple(ours):
        equivalent = next((candidate for candidate in theirs if are_equivalent(word, candidate)), None)
        if equivalent is not None:
            ours.remove(word)
            theirs.remove(equivalent)
    return (
        tuple(word for word in ours if not _is_explained(word, only[1], other)),
        tuple(word for word in theirs if not _is_explained(word, only[0], one)),
    )


def _is_explained(word: str, candidates: Sequence[str], other: ParsedPrompt) -> bool:
    """Return whether the other prompt has this word in another form, joined to others, or written out."""
    near = other.vocabulary if len(other.vocabulary) <= MOST_WORDS else candidates
    if any(are_equivalent(word, candidate) for candidate in near if not is_request_word(candidate)):
        return True
    if len(word) > 3 and word.replace("-", "") in "".join(other.words).replace("-", ""):
        return True
    initials = "".join(each[0] for each in other.words if each not in ("of", "the", "and", "for"))
    return 3 <= len(word) <= 5 and word in initials


def _evidence(one: ParsedPrompt, other: ParsedPrompt, only: Sides, unexplained: Sides) -> Iterator[Evidence]:
    ours, theirs = unexplained
    yield from _of_words(one, other, only)
    yield from _of_names(one, other, ours, theirs)
    if one.negations % 2 != other.negations % 2:
        yield Evidence.NEGATION
    if _is_narrowed(only[0], other) or _is_narrowed(only[1], one):
        yield Evidence.RESTRICTION
    if not (ours and theirs) and any(_in_a_phrase(word, one if ours else other) for word in ours or theirs):
        yield Evidence.PHRASE
    yield from _of_shape(one, other, ours, theirs)
    yield from _of_grammar(one, other)
    yield from _of_order(one, other)


def _of_words(one: ParsedPrompt, other: ParsedPrompt, only: Sides) -> Iterator[Evidence]:
    if len(only[0]) + len(only[1]) > MOST_WORDS:
        return
    pairs = [(a, b) for a in set(only[0]) - other.vocabulary for b in set(only[1]) - one.vocabulary]
    opposed = [(a, b) for a, b in pairs if are_opposed(a, b)]
    # "least expensive" is "cheapest".
    if _REVERSING.isdisjoint(only[0]) == _REVERSING.isdisjoint(only[1]):
        if any(is_request_word(a) and is_request_word(b) for a, b in opposed):
            yield Evidence.OPPOSITE_PLACES
        if not all(is_request_word(a) and is_request_word(b) for a, b in opposed):
            yield Evidence.OPPOSITES
    if any(are_of_one_kind(a, b) for a, b in pairs):
        yield Evidence.KINDS


def _of_names(one: ParsedPrompt, other: ParsedPrompt, ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Evidence]:
    named = (not one.names.isdisjoint(ours), not other.names.isdisjoint(theirs))
    if all(named):
        yield Evidence.NAMES
    elif any(named):
        yield Evidence.A_NAME


def _is_narrowed(only: Sequence[str], other: ParsedPrompt) -> bool:
    """Return whether one of these words narrows a request and the other prompt has no equivalent of it."""
    return any(
        word in restrictive_words()
        and word not in NEGATORS
        and word not in other.vocabulary
        and not any(are_equivalent(word, each) for each in other.vocabulary)
        for word in only[:MOST_WORDS]
    )


def _in_a_phrase(word: str, parsed: ParsedPrompt) -> bool:
    """Return whether a special word follows a preposition: "for dogs", "on Windows"."""
    if is_common(word):
        return False
    before = reversed(parsed.words[: parsed.words.index(word)])
    return next((each for each in before if each not in DETERMINERS), "") in _PREPOSITIONS


def _of_shape(one: ParsedPrompt, other: ParsedPrompt, ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Evidence]:
    a, b = trimmed(one.words, other.words)
    special = (any(not is_common(word) for word in ours), any(not is_common(word) for word in theirs))
    if ours and theirs:
        exchanged = 1 <= len(a) <= MAX_EXCHANGED_WORDS and 1 <= len(b) <= MAX_EXCHANGED_WORDS
        if exchanged:
            yield Evidence.SPECIAL_EXCHANGE if all(special) else Evidence.COMMON_EXCHANGE
        else:
            yield Evidence.SPECIAL_WORDING if all(special) else Evidence.COMMON_WORDING
    elif ours or theirs:
        inserted = min(len(a), len(b)) == 0 and max(len(a), len(b)) <= MAX_EXCHANGED_WORDS
        if inserted:
            yield Evidence.SPECIAL_INSERTION if any(special) else Evidence.COMMON_INSERTION
        else:
            yield Evidence.SPECIAL_ADDITION if any(special) else Evidence.COMMON_ADDITION
        if 1 <= len(a) <= MAX_EXCHANGED_WORDS and 1 <= len(b) <= MAX_EXCHANGED_WORDS:
            yield Evidence.SMALL_EXCHANGE


def _of_grammar(one: ParsedPrompt, other: ParsedPrompt) -> Iterator[Evidence]:
    modes = {_modality(one), _modality(other)}
    if len(modes) == 2 and None not in modes:
        yield Evidence.ADVICE if "should" in modes else Evidence.MODALITY
    tensed = not _TENSED.isdisjoint(one.vocabulary) and not _TENSED.isdisjoint(other.vocabulary)
    if tensed and _PAST.isdisjoint(one.vocabulary) != _PAST.isdisjoint(other.vocabulary):
        yield Evidence.TENSE
    if (_is_ahead(one) and _is_done(other)) or (_is_ahead(other) and _is_done(one)):
        yield Evidence.TIME
    if _THIRD.isdisjoint(one.vocabulary) != _THIRD.isdisjoint(other.vocabulary):
        yield Evidence.PERSON


def _is_ahead(parsed: ParsedPrompt) -> bool:
    """Return whether a prompt is about what is to come: "will", "going to", "about to"."""
    pairs = zip(parsed.words, parsed.words[1:], strict=False)
    return not _AHEAD.isdisjoint(parsed.vocabulary) or any(
        word in ("about", "going", "planning", "supposed") and following == "to" for word, following in pairs
    )


def _is_done(parsed: ParsedPrompt) -> bool:
    """Return whether a prompt is about what has happened: "was", "already", a word in "-ed"."""
    return not _is_ahead(parsed) and (
        not _DONE.isdisjoint(parsed.vocabulary) or any(word.endswith("ed") for word in parsed.words)
    )


def _modality(parsed: ParsedPrompt) -> str | None:
    """Return the strongest modality of a prompt, or None if it has none."""
    pairs = zip(parsed.words, parsed.words[1:], strict=False)
    if not _MUST.isdisjoint(parsed.vocabulary) or any(
        word in ("have", "has", "need", "needs") and following == "to" for word, following in pairs
    ):
        return "must"
    if not _SHOULD.isdisjoint(parsed.vocabulary):
        return "should"
    return None if _CAN.isdisjoint(parsed.vocabulary) else "can"


def _of_order(one: ParsedPrompt, other: ParsedPrompt) -> Iterator[Evidence]:
    shared = one.names & other.names
    names = [[word for word in each.words if word in shared] for each in (one, other)]
    if names[0] != names[1] and Counter(names[0]) == Counter(names[1]):
        yield Evidence.ORDER_OF_NAMES
