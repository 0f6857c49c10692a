"""What differs between two prompts, and how much it speaks against one answer for both.

The more alike two prompts are, the more likely is the little that differs to matter: "the cheapest flight to Rome" and
"the fastest flight to Rome" differ in one word, and that word decides. Two prompts that say the same in other words
differ in many places. So what differs is weighed together with how much of the prompts it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum, auto
from itertools import chain, pairwise
from math import fsum
from typing import NamedTuple

from recallm.guards.grammar import (
    both_ask_openly,
    is_infinitive,
    modalities,
    one_is_ahead_and_one_done,
    persons_differ,
    tenses_differ,
)
from recallm.guards.literals import are_searchable
from recallm.guards.order import DETERMINERS, MOST_WORDS, trimmed
from recallm.guards.prompt import NEGATORS, ParsedPrompt, parse
from recallm.guards.quantities import in_the_same_units
from recallm.guards.word_lists import request_words, restrictive_words
from recallm.guards.words import any_of_one_kind, equivalents, is_common, is_request_word, opposed, said_by

MAX_COMPARED = 6000
"""How many pairs of words are compared to see whether a prompt is narrowed; in doubt it is."""

MAX_EXCHANGED_WORDS = 4
"""Most words in one place of a prompt that count as one exchange or insertion; more count as rewording.

On tests/data/pairs_dev.jsonl, all guards refuse 94.6 % of the look-alikes and 6.0 % of the rewordings with 3, 96.4 %
and 6.8 % with 4, 96.8 % and 10.0 % with 5. `WEIGHTS` were learned with 4 and not again for the others.
"""

LEAST_REWORDED = 0.2
"""The share of unshared words below which two prompts are no rewordings of each other, wherever they differ."""

REWORDED_SHARE, REWORDED_WORDS = 0.5, 10
"""The share of unshared words from which, and the length in words from which, two prompts are long rewordings.

Of the pairs of a public set of questions of which only one has a number, 80 % of those so reworded ask the same.
"""

_MAX_UNEXPLAINED_WORDS = 6
"""Most unexplained words of two prompts that count; more of them do not add to the weight."""

_MOST_TELLING = 3
"""Most unexplained words of two prompts in which a word of a kind, or a name, is all that matters."""

_SHORTEST_STORY, _STORY_SHARE = 5, 0.4
"""How many words two prompts of one story share at their beginning, at least, and what part of the shorter prompt."""

_PREPOSITIONS = frozenset("for in on with without using via from to at into against by as".split())
_REVERSING = frozenset("least less".split())


class Evidence(StrEnum):
    """What may differ between two prompts.

    Words are special if they are not common (`words.is_common`). An exchange or an insertion is one stretch of at most
    `MAX_EXCHANGED_WORDS` words, and all that differs; another question about one story is an exchange of any length.

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
        ADVICE: one prompt asks what one should do, the other what must or can be done.
        MODALITY: one prompt asks what must be done, the other what can be done.
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
        is_rewording: whether both are long and most of their words differ, so that what only one of them mentions may
            be there by the way.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    evidence: frozenset[Evidence]
    weight: float
    is_rewording: bool = False


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


def compare(prompt: str, cached_prompt: str) -> Difference:
    """Return how two prompts differ. Their order changes nothing but which words are ``ours`` and ``theirs``.

    >>> found = compare("How do I store fresh basil?", "How do I grow fresh basil?")
    >>> found.ours, found.theirs, *found.evidence
    (('store',), ('grow',), <Evidence.COMMON_EXCHANGE: 'common_exchange'>)
    """
    return _compared(*in_the_same_units(parse(prompt), parse(cached_prompt)))


def _compared(one: ParsedPrompt, other: ParsedPrompt) -> Difference:
    only = unshared(one, other)
    ours, theirs = _unexplained(one, other, only)
    share, words = extent(one, other, only, (ours, theirs))
    evidence = frozenset(_evidence(one, other, only, (ours, theirs), share))
    weight = BIAS + fsum(WEIGHTS[name] for name in evidence) + PER_SHARE * share + PER_WORD * words
    is_rewording = share >= REWORDED_SHARE and min(len(one.words), len(other.words)) >= REWORDED_WORDS
    return Difference(ours, theirs, evidence, weight, is_rewording)


Sides = tuple[Sequence[str], Sequence[str]]


def unshared(one: ParsedPrompt, other: ParsedPrompt) -> Sides:
    """Return the words of each prompt that the other does not have, or not as often, or not as one word."""
    ours, theirs = _beyond(one, other), _beyond(other, one)
    if not (ours and theirs):
        return ours, theirs
    return _not_joined(one, ours, theirs), _not_joined(other, theirs, ours)


def _beyond(one: ParsedPrompt, other: ParsedPrompt) -> tuple[str, ...]:
    """Return each word of a prompt as often as it occurs more often than in the other prompt."""
    others = other.wording.counts
    more = [word for word, count in one.wording.counts.items() if count > others.get(word, 0)]
    return tuple([word for word in more for _ in range(one.wording.counts[word] - others.get(word, 0))])


def _not_joined(parsed: ParsedPrompt, words: Sequence[str], others: Sequence[str]) -> Sequence[str]:
    """Return these words of a prompt but for two in a row that the other prompt writes as one: "new born"."""
    wholes = {word.replace("-", "") if "-" in word else word for word in others}
    firsts = frozenset(words)
    joined = [
        (one, following) for one, following in pairwise(parsed.words) if one in firsts and one + following in wholes
    ]
    return tuple((Counter(words) - Counter(chain.from_iterable(joined))).elements()) if joined else words


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
    framing = request_words()
    ours, theirs = ([word for word in words if word not in framing and not word[0].isdigit()] for words in only)
    if len(ours) + len(theirs) > MOST_WORDS:
        return tuple(ours), tuple(theirs)
    return tuple(_not_explained(ours, only[1], other)), tuple(_not_explained(theirs, only[0], one))


def _not_explained(words: Sequence[str], candidates: Sequence[str], other: ParsedPrompt) -> Iterator[str]:
    """Yield the words that the other prompt has not in another form, joined to others, or written out."""
    if not words:
        return
    searched_words = other.vocabulary if len(other.vocabulary) <= MOST_WORDS else candidates
    framing = request_words().intersection(searched_words)
    explained = equivalents(words, [each for each in searched_words if each not in framing])
    explained |= said_by(words, framing)
    searched = are_searchable(words, other.wording.joined)
    for word in words:
        if word in explained or (searched and len(word) > 3 and word.replace("-", "") in other.wording.joined):
            continue
        if not (3 <= len(word) <= 5 and word in other.wording.initials):
            yield word


def _evidence(
    one: ParsedPrompt, other: ParsedPrompt, only: Sides, unexplained: Sides, share: float
) -> Iterator[Evidence]:
    ours, theirs = unexplained
    yield from _of_words(one, other, only)
    yield from _of_names(one, other, ours, theirs)
    if _is_narrowed(only[0], other) or _is_narrowed(only[1], one):
        yield Evidence.RESTRICTION
    if not (ours and theirs) and _is_in_a_phrase({*ours, *theirs}, one if ours else other):
        yield Evidence.PHRASE
    yield from _of_shape(one, other, unexplained, share)
    yield from _of_grammar(one, other, only)
    yield from _of_order(one, other)


def _of_words(one: ParsedPrompt, other: ParsedPrompt, only: Sides) -> Iterator[Evidence]:
    negated = one.negations % 2 != other.negations % 2
    turned: list[tuple[str, str]] = []
    if len(only[0]) + len(only[1]) <= MOST_WORDS:
        ours, theirs = set(only[0]) - other.vocabulary, set(only[1]) - one.vocabulary
        if any_of_one_kind(ours, theirs):
            yield Evidence.KINDS
        pairs = opposed(ours, theirs)
        turned = [(a, b) for a, b in pairs if not (is_infinitive(a, one) or is_infinitive(b, other))]
    # "least expensive" is "cheapest".
    reversed_once = _REVERSING.isdisjoint(only[0]) != _REVERSING.isdisjoint(only[1])
    # "not safe" is "dangerous".
    if negated and any(NEGATORS.isdisjoint(pair) and not _frames(pair) for pair in turned):
        return
    if negated:
        yield Evidence.NEGATION
    if reversed_once:
        return
    if any(_frames(pair) for pair in turned):
        yield Evidence.OPPOSITE_PLACES
    if not all(_frames(pair) for pair in turned):
        yield Evidence.OPPOSITES


def _frames(pair: tuple[str, str]) -> bool:
    return all(is_request_word(word) for word in pair)


def _of_names(one: ParsedPrompt, other: ParsedPrompt, ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Evidence]:
    named = (not one.names.isdisjoint(ours), not other.names.isdisjoint(theirs))
    if all(named):
        yield Evidence.NAMES
    elif any(named):
        yield Evidence.A_NAME


def _is_narrowed(only: Sequence[str], other: ParsedPrompt) -> bool:
    """Return whether one of these words narrows a request and the other prompt has no equivalent of it."""
    narrowing = restrictive_words().intersection(only[:MOST_WORDS]) - NEGATORS - other.vocabulary
    if len(narrowing) * len(other.vocabulary) > MAX_COMPARED:
        return True
    return bool(narrowing) and len(equivalents(narrowing, other.vocabulary)) < len(narrowing)


def _is_in_a_phrase(words: set[str], parsed: ParsedPrompt) -> bool:
    """Return whether one of these words, at its first place, is special and follows a preposition: "on Windows"."""
    left = set(words)
    before = ""
    for word in parsed.words:
        if word in left:
            if before in _PREPOSITIONS and not is_common(word):
                return True
            left.discard(word)
        if word not in DETERMINERS:
            before = word
    return False


def _of_shape(one: ParsedPrompt, other: ParsedPrompt, unexplained: Sides, share: float) -> Iterator[Evidence]:
    ours, theirs = unexplained
    a, b = trimmed(one.words, other.words)
    special = (any(not is_common(word) for word in ours), any(not is_common(word) for word in theirs))
    if ours and theirs:
        is_short = 1 <= len(a) <= MAX_EXCHANGED_WORDS and 1 <= len(b) <= MAX_EXCHANGED_WORDS
        is_exchange = is_short or share < LEAST_REWORDED or _one_word_tells(one, other, unexplained)
        if is_exchange or _ask_something_else(one, other, a, b):
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


def _one_word_tells(one: ParsedPrompt, other: ParsedPrompt, unexplained: Sides) -> bool:
    """Return whether hardly more than members of one kind, or names, are unexplained in two prompts."""
    ours, theirs = unexplained
    if len(ours) + len(theirs) > _MOST_TELLING:
        return False
    if any_of_one_kind(set(ours), set(theirs)):
        return True
    return len(ours) == len(theirs) == 1 and ours[0] in one.names and theirs[0] in other.names


def _ask_something_else(one: ParsedPrompt, other: ParsedPrompt, a: Sequence[str], b: Sequence[str]) -> bool:
    """Return whether two prompts begin with the same story, and what they ask about it has no telling word in common.

    Args:
        one: a prompt.
        other: the other prompt.
        a: what is left of one without the beginning and the end that they share.
        b: likewise, of the other.
    """
    start = next((at for at, (x, y) in enumerate(zip(one.words, other.words, strict=False)) if x != y), 0)
    if start < _SHORTEST_STORY or start < _STORY_SHARE * min(len(one.words), len(other.words)):
        return False
    return all(is_request_word(word) for word in {*a}.intersection(b))


def _of_grammar(one: ParsedPrompt, other: ParsedPrompt, only: Sides) -> Iterator[Evidence]:
    modes = modalities(one, other)
    if modes and not ("should" in modes and both_ask_openly(one, other)):
        yield Evidence.ADVICE if "should" in modes else Evidence.MODALITY
    if tenses_differ(one, other):
        yield Evidence.TENSE
    if one_is_ahead_and_one_done(one, other):
        yield Evidence.TIME
    if persons_differ(one, other, only):
        yield Evidence.PERSON


def _of_order(one: ParsedPrompt, other: ParsedPrompt) -> Iterator[Evidence]:
    shared = one.names & other.names
    if len(shared) < 2:
        return
    names = [[word for word in each.words if word in shared] for each in (one, other)]
    if names[0] != names[1] and Counter(names[0]) == Counter(names[1]):
        yield Evidence.ORDER_OF_NAMES
