"""How two words relate: equivalent by spelling, form or meaning, opposed, or of one kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from recallm.guards.word_lists import (
    common_words,
    kinds,
    opposites,
    request_words,
    synonyms,
    word_forms,
    words_in_any_list,
)

KEPT_PAIRS = 1 << 16
"""How many results each function keeps: at most some 30 MB, if no word is ever met again."""

LONGEST_WORD = 40
"""Longer words, in letters, are keys, hashes or data: they are equivalent only if they are equal."""

_ENDINGS = frozenset(
    """
    s es ed d ing er ers ion ions ation ations al ally ly ment ments y ies ied e r or ors able ness ity ive ian ic ical
    n ful ting ning ming ping ted ned ped ging ged ring red ling led t th ance ence ant ent ous iness ily ier iest est
    st ise ize ised ized ising izing yse yze our re er que k ck
    """.split()
) | {""}
"""What may follow a common stem in two forms of one word: "cancel" + "", "cancel" + "ling".

A doubled consonant or a dropped "e" counts to the ending, as the forms are compared with each other, not with a list.
"""

_NEGATING = ("un", "in", "im", "dis", "non-", "non", "ir", "il", "de", "mis")

_STEMMING = (
    ("ies", "y"), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"), ("es", ""), ("s", ""), ("ly", ""), ("er", ""),
    ("est", ""),
)  # fmt: skip
"""Endings of regular English forms, and what takes their place in the base form: "babies", "baby".

Lists hold base forms, so they are looked up by these. What is derived from a word, as "payment" from "pay", need not
mean the same or be of the same kind: it is listed if it does.
"""

_NONE: frozenset[int] = frozenset()


def is_request_word(word: str) -> bool:
    """Return whether a word frames a request ("how", "please") and is no part of what the request is about."""
    return word in request_words()


@lru_cache(KEPT_PAIRS)
def is_common(word: str) -> bool:
    """Return whether a word fits any subject ("improve", "easily"), and so seldom decides which answer is right."""
    return (
        word in request_words()
        or (word.endswith("ly") and len(word) > 4)
        or any(stem in common_words() for stem in (word, *_stems(word)))
    )


@lru_cache(KEPT_PAIRS)
def are_opposed(one: str, other: str) -> bool:
    """Return whether two words are opposites: "import" and "export", "legal" and "illegal".

    >>> are_opposed("import", "export"), are_opposed("reliable", "unreliable"), are_opposed("tea", "team")
    (True, True, False)
    """
    if other in opposites().get(one, ()):
        return True
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) > 3 and any(longer == prefix + shorter for prefix in _NEGATING):
        return True
    return longer.endswith("less") and longer[:-4] in (shorter, shorter.removesuffix("ful"))


@lru_cache(KEPT_PAIRS)
def are_of_one_kind(one: str, other: str) -> bool:
    """Return whether two words name different members of one kind: "monday" and "friday"."""
    shared = _any_form(kinds(), one) & _any_form(kinds(), other)
    return bool(shared) and not _in_one_group(synonyms(), one, other) and not _inflected(one, other)


@lru_cache(KEPT_PAIRS)
def are_equivalent(one: str, other: str) -> bool:
    """Return whether one word may replace the other: forms, spellings or misspellings of one word, or synonyms.

    >>> are_equivalent("cancelling", "cancel"), are_equivalent("fridge", "refrigerator")
    (True, True)
    >>> are_equivalent("enable", "disable")
    False
    """
    if _in_one_spelling(one) == _in_one_spelling(other):
        return True
    if one[0].isdigit() or other[0].isdigit() or max(len(one), len(other)) > LONGEST_WORD or are_opposed(one, other):
        return False
    if _in_one_group(synonyms(), one, other) or _in_one_group(word_forms(), one, other):
        return True
    if _inflected(one, other):
        return True
    if _any_form(kinds(), one) & _any_form(kinds(), other):
        return False
    return bool(_any_form(synonyms(), one) & _any_form(synonyms(), other)) or _mistyped(one, other)


def _in_one_spelling(word: str) -> str:
    """Return a word without hyphens and in American spelling."""
    return word.replace("-", "").replace("our", "or").replace("ise", "ize").replace("yse", "yze").replace("ogue", "og")


def _in_one_group(groups: Mapping[str, frozenset[int]], one: str, other: str) -> bool:
    """Return whether two words, as they are, are in one group."""
    return not groups.get(one, _NONE).isdisjoint(groups.get(other, _NONE))


def _any_form(groups: Mapping[str, frozenset[int]], word: str) -> frozenset[int]:
    """Return the numbers of the groups that a word or one of its stems is in."""
    return frozenset().union(*(groups.get(form, _NONE) for form in (word, *_stems(word))))


def _stems(word: str) -> Iterable[str]:
    """Yield what a word may be a regular form of, right or not: only those in a list matter."""
    for ending, replacement in _STEMMING:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            stem = word[: -len(ending)] + replacement
            yield stem
            if not replacement and len(stem) > 3 and stem[-1] == stem[-2]:
                yield stem[:-1]


def _inflected(one: str, other: str) -> bool:
    """Return whether two words are one stem with two endings."""
    shared = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    # Three letters are enough in short words only: "buy" and "buys" are one word, "carers" and "caring" are not.
    least = 3 if min(len(one), len(other)) <= 4 else 4
    return any(one[cut:] in _ENDINGS and other[cut:] in _ENDINGS for cut in range(shared, least - 1, -1))


def _mistyped(one: str, other: str) -> bool:
    """Return whether one word is the other with a letter missing, added, wrong, or swapped with the next.

    Two words of the lists are different words, not misspellings. Short words have too many neighbours to tell.
    """
    shorter, longer = sorted((one, other), key=len)
    if (
        len(shorter) < 5
        or one[0] != other[0]
        or len(longer) - len(shorter) > 1
        or (one in words_in_any_list() and other in words_in_any_list())
    ):
        return False
    if len(shorter) < len(longer):
        return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))
    wrong = [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    if len(wrong) == 1:
        return len(one) > 5
    first, *rest = wrong
    return rest == [first + 1] and one[first] == other[first + 1] and one[first + 1] == other[first]
