"""The places of quantities: whether numbers that stand elsewhere, or in another order, still count the same things."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from recallm.guards.numerals import is_number
from recallm.guards.order import DETERMINERS, MUTUAL
from recallm.guards.prompt import ParsedPrompt
from recallm.guards.quantities import MOST_NUMBERS, Pairs, Quantity, matched, paired, written_in_digits
from recallm.guards.units import Units
from recallm.guards.words import are_equivalent, is_request_word

_JOINING = frozenset("and or vs versus plus times und oder y o et ou e ed ja tai och eller".split())
"""Words between numbers that may change places, in the languages most used; sums and products are the same, too."""

_PREPOSITIONS = frozenset("from to for in on at by with of than within after before per since until".split())
_NO_NOUNS = DETERMINERS | _JOINING | _PREPOSITIONS

_OPERATORS = {"to": "to", "plus": "plus", "times": "times", "power": "power", "divided by": "by", "by": "by"}

_QUANTIFIERS = {
    word: number
    for number, words in enumerate(
        ("all every each", "one", "any", "some several", "many", "most", "both", "either", "neither")
    )
    for word in words.split()
}
"""Words that say how many, and a number for each meaning."""


_BRINGING_TOGETHER = MUTUAL.union(
    "concatenate concatenated concatenating join joined joining merge merged merging swap swapped swapping".split()
)
"""Words for what is done with two things, if nothing says with how many."""


class Placed(NamedTuple):
    """A quantity and what stands beside it.

    Attributes:
        text: the number in digits.
        units: what its unit may mean.
        start: its place.
        nouns: the special words around number and unit, without an "s" at the end.
        beside: all words around number and unit and those of the unit, likewise.
        preposition: the preposition in front of it, or "".
    """

    text: str
    units: Units
    start: int
    nouns: frozenset[str]
    beside: frozenset[str]
    preposition: str


PlacedPair = tuple[Placed, Placed]


def quantities_agree(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether two prompts name the same quantities, and none of them has changed places with another.

    A number may move together with what it counts. Numbers joined by "and", "or" or "versus" may change places.
    """
    if not one.numbers and not other.numbers:
        return _quantifiers_agree(one.words, other.words)
    if one.words == other.words and one.original == other.original:
        return True
    if max(len(one.numbers), len(other.numbers)) > MOST_NUMBERS:
        return _are_in_one_order(one, other)
    pairs = paired(one, other)
    if pairs is None or any(len({ours.bound, theirs.bound, ""}) == 3 for ours, theirs in pairs):
        return False
    return _quantifiers_agree(one.words, other.words) and _in_their_places(one, other, pairs)


def bring_two_together(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether two prompts compare or join things, and only one of them says that they are two.

    >>> from recallm.guards.prompt import parse
    >>> bring_two_together(parse("Merge two lists"), parse("How do I merge lists?"))
    True
    """
    fewer, more = sorted((one, other), key=lambda parsed: len(parsed.numbers))
    left = [number for number in more.numbers if more.original[number.place].lower() != "two"]
    return (
        len(left) == len(fewer.numbers) == len(more.numbers) - 1
        and [number.text for number in left] == [number.text for number in fewer.numbers]
        and not any(parsed.vocabulary.isdisjoint(_BRINGING_TOGETHER) for parsed in (one, other))
    )


def digits_keep_their_places(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether no number in digits has taken the place of another, in prompts of whatever language."""
    if max(len(one.numbers), len(other.numbers)) > MOST_NUMBERS:
        return _are_in_one_order(one, other)
    pairs, ours, theirs = matched(written_in_digits(one), written_in_digits(other))
    return not (ours and theirs) and _in_their_places(one, other, pairs)


def _are_in_one_order(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether two prompts have the same numbers in the same order."""
    return [number.text for number in one.numbers] == [number.text for number in other.numbers]


def _quantifiers_agree(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether it is not only in "all", "most", "some" or the like that two prompts differ."""
    if len(one) != len(other):
        return True
    differing = [(a, b) for a, b in zip(one, other, strict=True) if a != b][:3]
    ours, theirs = (_QUANTIFIERS.get(word) for word in (differing[0] if differing else ("", "")))
    if ours is None or theirs is None or ours == theirs:
        return True
    return not all(_are_alike(a, b) for a, b in differing[1:])


def _are_alike(one: str, other: str) -> bool:
    """Return whether two words mean the same or both frame a request: "has", "have"."""
    return are_equivalent(one, other) or (is_request_word(one) and is_request_word(other))


def _in_their_places(one: ParsedPrompt, other: ParsedPrompt, pairs: Pairs) -> bool:
    """Return whether no quantity has taken the place, or the noun, of another."""
    pairs = sorted(pairs, key=lambda pair: pair[0].start)
    if any(_counts_something_else(one, other, *pair) for pair in pairs):
        return False
    theirs = [pair[1].start for pair in pairs]
    if theirs == sorted(theirs):
        return _operators_agree(one, other, pairs)
    runs = [
        _enumerations(parsed.words, sorted((pair[side] for pair in pairs), key=lambda each: each.start))
        for side, parsed in enumerate((one, other))
    ]
    placed = [(_placed(one.words, a), _placed(other.words, b)) for a, b in pairs]
    return all(_may_change_places(a, b, runs) for a, b in combinations(placed, 2) if a[1].start > b[1].start)


def _counts_something_else(one: ParsedPrompt, other: ParsedPrompt, ours: Quantity, theirs: Quantity) -> bool:
    """Return whether a number stands before another noun, although each prompt has the noun of the other."""
    if one.words[ours.place + 1 : ours.place + 2] == other.words[theirs.place + 1 : theirs.place + 2]:
        return False
    if ours.units and theirs.units:
        return False
    behind = [
        {*_special(parsed.words[each.place + 1 : each.place + 3])} for parsed, each in ((one, ours), (other, theirs))
    ]
    return (
        behind[0].isdisjoint(behind[1])
        and not other.vocabulary.isdisjoint(behind[0])
        and not one.vocabulary.isdisjoint(behind[1])
        and _placed(one.words, ours).nouns.isdisjoint(_placed(other.words, theirs).nouns)
    )


def _placed(words: Sequence[str], quantity: Quantity) -> Placed:
    start, end = quantity.start, quantity.end
    # The word between "3 beds" and "2 baths" is what the first number counts.
    before = words[start - 1] if start and not (start > 1 and is_number(words[start - 2])) else ""
    # The second word behind a number may be the first one's noun, or what stands before the next number.
    last = end + (1 if any(map(is_number, words[end + 2 : end + 3])) else 2)
    counted = [*_special(words[end:last]), *_special((before,) if before else ())]
    beside = [before, *words[start:last]]
    return Placed(
        text=quantity.text,
        units=quantity.units,
        start=start,
        nouns=_singular(counted),
        beside=_singular(beside),
        preposition=before if before in _PREPOSITIONS else "",
    )


def _singular(words: Iterable[str]) -> frozenset[str]:
    return frozenset([word.removesuffix("s") for word in words])


def _special(words: Sequence[str]) -> Iterator[str]:
    """Yield the first words up to one that says nothing of what is counted."""
    for word in words:
        if is_request_word(word) or is_number(word) or word in _NO_NOUNS:
            return
        yield word


def _operators_agree(one: ParsedPrompt, other: ParsedPrompt, pairs: Pairs) -> bool:
    """Return whether there are no two numbers between which the prompts have different operators."""
    for a, b in pairwise(pairs):
        ours, theirs = (
            _OPERATORS.get(" ".join(parsed.words[a[side].end : b[side].start]))
            for side, parsed in enumerate((one, other))
        )
        if ours and theirs and ours != theirs:
            return False
    return True


def _may_change_places(a: PlacedPair, b: PlacedPair, enumerations: Sequence[Mapping[int, int]]) -> bool:
    """Return whether nothing is said by two quantities that are in another order."""
    if a[0].text == b[0].text or (not _exchange_prepositions(a, b) and _stand_with_their_nouns(a, b)):
        return True
    found = [(places.get(a[side].start), places.get(b[side].start)) for side, places in enumerate(enumerations)]
    return all(first is not None and first == second for first, second in found)


def _exchange_prepositions(a: PlacedPair, b: PlacedPair) -> bool:
    """Return whether each stands behind the preposition of the other: "5 kg for 10 km", "10 km for 5 kg"."""
    ours, theirs = ((a[side].preposition, b[side].preposition) for side in (0, 1))
    return ours == theirs[::-1] != theirs


def _stand_with_their_nouns(a: PlacedPair, b: PlacedPair) -> bool:
    """Return whether two quantities have moved together with what they count, so that they have not been exchanged."""
    if _keeps_its_noun(a, b):
        return _keeps_its_noun(b, a) or _keeps_its_unit(b, a) or _needs_no_noun(b)
    return _keeps_its_noun(b, a) and (_keeps_its_unit(a, b) or _needs_no_noun(a))


def _keeps_its_noun(moved: PlacedPair, other: PlacedPair) -> bool:
    """Return whether a quantity stands beside a word in both prompts beside which the other one never stands."""
    if not (moved[0].nouns & moved[1].nouns) <= (other[0].beside | other[1].beside):
        return True
    preposition = moved[0].preposition
    return preposition == moved[1].preposition != "" and all(each.preposition != preposition for each in other)


def _keeps_its_unit(moved: PlacedPair, other: PlacedPair) -> bool:
    """Return whether a quantity measures the same in both prompts, and the other one something else."""
    measured, others = ({unit.measures for each in pair for unit in each.units} for pair in (moved, other))
    return all(each.units for each in moved) and measured.isdisjoint(others)


def _needs_no_noun(pair: PlacedPair) -> bool:
    """Return whether a number counts nothing in one of the prompts, or is a year, a date or a time."""
    number = pair[0].text
    is_date = "-" in number[1:] or ":" in number or (len(number) == 4 and number[:2] in ("19", "20"))
    return not all(each.nouns or each.units for each in pair) or (is_date and not any(each.units for each in pair))


def _enumerations(words: Sequence[str], quantities: Sequence[Quantity]) -> Mapping[int, int]:
    """Return, for each quantity that is joined to others by "and" or the like, the number of its enumeration."""
    found: dict[int, int] = {}
    run: list[int] = []
    is_joined = False
    for number, (before, quantity) in enumerate(zip((None, *quantities), (*quantities, None), strict=True)):
        gap = _gap(words, before, quantity)
        if gap is None:
            if is_joined:
                found |= dict.fromkeys(run, number)
            run, is_joined = [], False
        else:
            is_joined = is_joined or not _JOINING.isdisjoint(gap)
        if quantity is not None:
            run.append(quantity.start)
    return found


def _gap(words: Sequence[str], before: Quantity | None, after: Quantity | None) -> Sequence[str] | None:
    """Return the words between two quantities if they only join them, repeating at most what is counted."""
    if before is None or after is None:
        return None
    gap = words[before.end : after.start]
    repeated = set(words[before.end : before.end + 1]) & set(words[after.end : after.end + 1])
    repeated |= set(words[before.start - 1 : before.start]) & set(words[after.start - 1 : after.start])
    return gap if _JOINING.union(DETERMINERS, repeated).issuperset(gap) else None
