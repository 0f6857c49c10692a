"""The order of words: which parts of two prompts have changed places, and what their common start and end enclose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

from recallm.guards.words import are_equivalent, is_request_word

MOST_WORDS = 60
"""Most words that are compared each with each, which takes time in the square of their number.

Longer prompts, and prompts that differ in more words, are judged without that: a veto that rests on it is not given.
"""

DETERMINERS = frozenset("a an the it there my your our his her their please".split())
_TURNING = frozenset("from to into than before after by in for with of on and or vs versus between my me i".split())
_JOINING = frozenset("or and vs versus between with".split())
_SUBJECTS = {"me": "i", "us": "we", "him": "he", "them": "they"}


def is_turned_round(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two parts have changed places: "from A to B" and "from B to A".

    Two words of which each takes the place of the other count however often they occur. Parts joined by "and", "or"
    or "versus" may change places.

    Args:
        one: the words of one prompt, in lower case.
        other: the words of the other prompt, in lower case.

    >>> is_turned_round("pay ann for bob".split(), "pay bob for ann".split())
    True
    >>> is_turned_round("compare tea and coffee".split(), "compare coffee and tea".split())
    False
    """
    if _exchanged(one, other):
        return True
    if max(len(one), len(other)) > MOST_WORDS:
        return False
    other = _in_the_words_of(one, other)
    plain = [[_SUBJECTS.get(word, word) for word in words if word not in DETERMINERS] for words in (one, other)]
    matter = [[word for word in words if word in _TURNING or not is_request_word(word)] for words in (one, other)]
    return _swaps(*plain) or _swaps(*matter)


def _exchanged(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether the second is the first with two words in each other's place that frame no request."""
    if len(one) != len(other):
        return False
    places = [place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    pairs = {(one[place], other[place]) for place in places}
    if len(pairs) != 2 or pairs != {(b, a) for a, b in pairs} or any(map(is_request_word, next(iter(pairs)))):
        return False
    return len(places) > 2 or not _JOINING.issuperset(one[places[0] + 1 : places[1]])


def _in_the_words_of(one: Sequence[str], other: Sequence[str]) -> Sequence[str]:
    """Return the second, with its words replaced by equivalent ones that only the first has."""
    unshared = [word for word in one if word not in other]
    known = {
        word: next((each for each in unshared if are_equivalent(word, each)), word) for word in set(other) - set(one)
    }
    return [known.get(word, word) for word in other]


def _swaps(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether the second is the first with two stretches in each other's place and a middle that stays."""
    if len(one) != len(other) or one == other:
        return False
    a, b = trimmed(one, other)
    if len(a) < 3 or Counter(a) != Counter(b):
        return False
    size = len(a)
    for head in range(1, size - 1):
        if b[size - head :] != a[:head]:
            continue
        for tail in range(1, size - head):
            middle = a[head : size - tail]
            if b[:tail] == a[size - tail :] and b[tail : size - head] == middle:
                return not _JOINING.issuperset(middle)
    return False


def trimmed(one: Sequence[str], other: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return what is left of both without the beginning and the end that they share.

    >>> trimmed("the red car stops".split(), "the blue car stops".split())
    (['red'], ['blue'])
    """
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    one, other = one[start:], other[start:]
    end = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(reversed(one), reversed(other), strict=False)))
    return one[: len(one) - end], other[: len(other) - end]
