"""How two words relate: equivalent by spelling, form or meaning, opposed, or of one kind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Set
from typing import NamedTuple

from recallm.guards.word_lists import (
    common_words,
    kinds,
    opposites,
    request_words,
    role_verbs,
    synonyms,
    word_forms,
    words_in_any_list,
)

KEPT_WORDS = 2048
"""How many words are kept as they were looked up: at most two megabytes."""

LONGEST_WORD = 40
"""Longer words, in letters, are keys, hashes or data: they are equivalent only if they are spelled alike."""

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
_NOTHING: frozenset[str] = frozenset()
_NO_KEYS: frozenset[str | int] = frozenset()


def is_request_word(word: str) -> bool:
    """Return whether a word frames a request ("how", "please") and is no part of what the request is about."""
    return word in request_words()


class _Word(NamedTuple):
    """What the lists say of a word.

    Attributes:
        keys: two words that may replace each other have one of these in common; most others have not.
        spelling: the word without hyphens and in American spelling.
        synonyms: the numbers of the groups of synonyms that it is in.
        meanings: likewise, of those that it or one of its stems is in.
        forms: the numbers of the irregular words that it is a form of.
        kinds: the numbers of the kinds that it or one of its stems is a member of.
        members: those members, and the numbers of the groups of synonyms that they are in.
        opposites: its opposites in the list, and what is left of it without a beginning or end that negates.
        is_common: whether it fits any subject.
        is_role_verb: whether it is a form of a verb whose two sides must not change places.
    """

    keys: frozenset[str | int]
    spelling: str
    synonyms: frozenset[int]
    meanings: frozenset[int]
    forms: frozenset[int]
    kinds: frozenset[int]
    members: frozenset[str | int]
    opposites: frozenset[str]
    is_common: bool
    is_role_verb: bool


class _Words(dict[str, _Word]):
    """What the lists say of the words that were met last. Any thread may look up a word."""

    def __missing__(self, word: str) -> _Word:
        found = _look_up(word)
        # Long words are in no list, and would take memory without a bound.
        if len(word) <= LONGEST_WORD:
            if len(self) >= KEPT_WORDS:
                self.clear()
            self[word] = found
        return found


_WORDS = _Words()


def _look_up(word: str) -> _Word:
    stems = (word, *_stems(word))
    spelling = _in_one_spelling(word)
    meanings = _any_form(synonyms(), stems)
    forms = word_forms().get(word, _NONE)
    # Two forms of a word, and a word and its misspelling, begin alike, or else begin and end with the same letter.
    # The numbers of words with irregular forms are made negative, as those of synonyms are not.
    looks = (spelling, word[:3], word[0] + word[-1])
    return _Word(
        frozenset((*looks, *meanings, *(-1 - number for number in forms))),
        spelling,
        synonyms().get(word, _NONE),
        meanings,
        forms,
        _any_form(kinds(), stems),
        _members(stems),
        opposites().get(word, _NOTHING).union(_positive_forms(word)),
        word in request_words()
        or (word.endswith("ly") and len(word) > 4)
        or any(stem in common_words() for stem in stems),
        not role_verbs().isdisjoint(stems),
    )


def is_common(word: str) -> bool:
    """Return whether a word fits any subject ("improve", "easily"), and so seldom decides which answer is right."""
    return _WORDS[word].is_common


def is_role_verb(word: str) -> bool:
    """Return whether a word is a form of a verb whose two sides must not change places: "paid", "bites"."""
    return _WORDS[word].is_role_verb


def are_opposed(one: str, other: str) -> bool:
    """Return whether two words are opposites: "import" and "export", "legal" and "illegal".

    >>> are_opposed("import", "export"), are_opposed("reliable", "unreliable"), are_opposed("tea", "team")
    (True, True, False)
    """
    return other in _WORDS[one].opposites or one in _WORDS[other].opposites


def opposed(ours: Set[str], theirs: Set[str]) -> set[tuple[str, str]]:
    """Return each pair of a word of ours and a word of theirs that `are_opposed`."""
    found = {(one, other) for one in ours for other in _WORDS[one].opposites if other in theirs}
    return found | {(one, other) for other in theirs for one in _WORDS[other].opposites if one in ours}


def _positive_forms(word: str) -> Iterable[str]:
    """Yield what a word may negate: "reliable" for "unreliable", "care" and "careful" for "careless"."""
    for prefix in _NEGATING:
        if word.startswith(prefix) and len(word) > len(prefix) + 3:
            yield word[len(prefix) :]
    if word.endswith("less"):
        yield word[:-4]
        yield word[:-4] + "ful"


def are_of_one_kind(one: str, other: str) -> bool:
    """Return whether two words name different members of one kind: "monday" and "friday"."""
    a, b = _WORDS[one], _WORDS[other]
    return not a.kinds.isdisjoint(b.kinds) and a.members.isdisjoint(b.members) and not _inflected(one, other)


def any_of_one_kind(ours: Iterable[str], theirs: Iterable[str]) -> bool:
    """Return whether a word of ours and a word of theirs `are_of_one_kind`."""
    members = [word for word in ours if _WORDS[word].kinds]
    others = [word for word in theirs if _WORDS[word].kinds] if members else ()
    return any(are_of_one_kind(one, other) for one in members for other in others)


def equivalents(words: Iterable[str], others: Collection[str]) -> dict[str, str]:
    """Return, for each word that has any, the first of the other words that is equivalent to it."""
    return _related(words, others, are_equivalent)


def _related(words: Iterable[str], others: Collection[str], are_related: Callable[[str, str], bool]) -> dict[str, str]:
    """Return, for each word that has any, the first of the other words that it is related to.

    It takes far less time than to compare each word with each: most have no key in common with any other.
    """
    all_keys = _NO_KEYS.union(*[_WORDS[other].keys for other in others])
    found: dict[str, str] = {}
    for word in words:
        keys = _WORDS[word].keys
        if keys.isdisjoint(all_keys):
            continue
        for other in others:
            if not keys.isdisjoint(_WORDS[other].keys) and are_related(word, other):
                found[word] = other
                break
    return found


def are_equivalent(one: str, other: str) -> bool:
    """Return whether one word may replace the other: forms, spellings or misspellings of one word, or synonyms.

    >>> are_equivalent("cancelling", "cancel"), are_equivalent("fridge", "refrigerator")
    (True, True)
    >>> are_equivalent("enable", "disable")
    False
    """
    a, b = _WORDS[one], _WORDS[other]
    related = not (a.meanings.isdisjoint(b.meanings) and a.forms.isdisjoint(b.forms))
    if not related and one[0] != other[0]:
        return False
    if a.spelling == b.spelling:
        return True
    if not related and one[:3] != other[:3] and abs(len(one) - len(other)) > 1:
        return False
    if one[0].isdigit() or other[0].isdigit() or max(len(one), len(other)) > LONGEST_WORD or are_opposed(one, other):
        return False
    if not a.synonyms.isdisjoint(b.synonyms) or not a.forms.isdisjoint(b.forms) or _inflected(one, other):
        return True
    if not a.kinds.isdisjoint(b.kinds):
        return not a.members.isdisjoint(b.members)
    return not a.meanings.isdisjoint(b.meanings) or _mistyped(one, other)


def said_by(words: Iterable[str], framing: Collection[str]) -> dict[str, str]:
    """Return, for each word that says what one says that frames a request, the first of these that does.

    >>> said_by(["top", "tea", "pleese"], ["best", "please"])
    {'top': 'best', 'pleese': 'please'}
    """
    return _related(words, framing, _is_said_by)


def _is_said_by(word: str, framing: str) -> bool:
    return (
        not _WORDS[word].synonyms.isdisjoint(_WORDS[framing].synonyms)
        or (word.endswith(("s", "ed", "ing")) and framing in _stems(word))
        or _is_misspelled(word, framing)
    )


def _is_misspelled(word: str, right: str) -> bool:
    """Return whether a word that no list has is a misspelling of one that frames a request: "witout", "pleese"."""
    return word not in words_in_any_list() and len(word) <= LONGEST_WORD and _mistyped(word, right)


def _in_one_spelling(word: str) -> str:
    """Return a word without hyphens and in American spelling."""
    return word.replace("-", "").replace("our", "or").replace("ise", "ize").replace("yse", "yze").replace("ogue", "og")


def _any_form(groups: Mapping[str, frozenset[int]], forms: Iterable[str]) -> frozenset[int]:
    """Return the numbers of the groups that any of these forms of a word is in."""
    found = [groups[form] for form in forms if form in groups]
    if not found:
        return _NONE
    return found[0] if len(found) == 1 else _NONE.union(*found)


def _members(stems: Iterable[str]) -> frozenset[str | int]:
    """Return which of these stems are members of a kind, and the numbers of the groups of synonyms that they are in."""
    members = [stem for stem in stems if stem in kinds()]
    return _NOTHING.union(members, *[synonyms().get(member, _NONE) for member in members]) if members else _NOTHING


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
    if one[:3] != other[:3]:
        return False
    shared = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    # Three letters are enough in short words only: "buy" and "buys" are one word, "carers" and "caring" are not.
    least = 3 if min(len(one), len(other)) <= 4 else 4
    return any(one[cut:] in _ENDINGS and other[cut:] in _ENDINGS for cut in range(shared, least - 1, -1))


def _mistyped(one: str, other: str) -> bool:
    """Return whether one word is the other with a letter missing, added, wrong, or swapped with the next.

    Two words of the lists are different words, not misspellings. Short words have too many neighbours to tell.
    """
    shorter, longer = (one, other) if len(one) <= len(other) else (other, one)
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
