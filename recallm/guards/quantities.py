"""Quantities: numbers with their units and bounds, and which of two prompts are the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from recallm.concurrency.memo import Memo
from recallm.guards.numerals import SPELLED_OUT
from recallm.guards.prompt import Number, ParsedPrompt
from recallm.guards.units import Units, is_unit, longest_name, units_of

MOST_NUMBERS = 24
"""Most numbers of a prompt that are compared each with each, which takes time in the square of their number.

Of more numbers, all must be the same in the same order.
"""

_LONGEST_FRACTION = 15
_BOUNDS = {
    **dict.fromkeys(("exactly", "precisely"), "="),
    **dict.fromkeys(("at least", "minimum", "minimum of", "no less than", "no fewer than"), ">="),
    **dict.fromkeys(("at most", "up to", "maximum", "maximum of", "no more than", "not more than"), "<="),
    **dict.fromkeys("over above exceeding".split(), ">"),
    **dict.fromkeys("under below".split(), "<"),
    **dict.fromkeys((f"{more} than" for more in "more greater older longer higher larger bigger later".split()), ">"),
    **dict.fromkeys((f"{less} than" for less in "less fewer younger shorter lower smaller earlier".split()), "<"),
}
"""Words in front of a number that bound it."""

_LAST_OF_BOUNDS = {bound.split()[-1] for bound in _BOUNDS}

_OPEN_ENDS = dict.fromkeys("more above over older higher up upwards later".split(), ">=") | dict.fromkeys(
    "less fewer under below younger lower earlier".split(), "<="
)
"""Words that bound a number after "or" or "and" behind it."""


class Quantity(NamedTuple):
    """A number of a prompt with its unit.

    Attributes:
        text: the number in digits.
        place: which of the words it is.
        units: what the unit behind it, or the currency in front of it, may mean; none if there is neither.
        start: the place of the first word of number and unit.
        end: the place after the last one.
        bound: ">=", "<=", ">", "<" or "=" if it is the least or the most or exact, else "".
    """

    text: str
    place: int
    units: Units
    start: int
    end: int
    bound: str


Pair = tuple[Quantity, Quantity]
Pairs = Sequence[Pair]


def in_the_same_units(one: ParsedPrompt, other: ParsedPrompt) -> tuple[ParsedPrompt, ParsedPrompt]:
    """Return two prompts with each quantity that they share in the words of the one that writes it shorter.

    >>> from recallm.guards.prompt import parse
    >>> [" ".join(parsed.words) for parsed in in_the_same_units(parse("2 weeks off"), parse("off for 14 days"))]
    ['14 days off', 'off for 14 days']
    """
    if not one.numbers or not other.numbers or max(len(one.numbers), len(other.numbers)) > MOST_NUMBERS:
        return one, other
    replaced: tuple[dict[int, Span], dict[int, Span]] = ({}, {})
    for ours, theirs in paired(one, other) or ():
        spans = (_span(one, ours), _span(other, theirs))
        if ours.units and theirs.units and spans[0].words != spans[1].words:
            shorter = min(spans, key=lambda span: (len(span.words), span.words))
            for side, quantity in enumerate((ours, theirs)):
                replaced[side][quantity.start] = shorter._replace(end=quantity.end)
    return _with_spans(one, replaced[0]), _with_spans(other, replaced[1])


class Span(NamedTuple):
    """The words of a quantity, the same words with their capitals, and the place after the last one."""

    words: tuple[str, ...]
    original: tuple[str, ...]
    end: int


def _span(parsed: ParsedPrompt, quantity: Quantity) -> Span:
    words, original = (each[quantity.start : quantity.end] for each in (parsed.words, parsed.original))
    return Span(words, original, quantity.end)


def _with_spans(parsed: ParsedPrompt, replaced: dict[int, Span]) -> ParsedPrompt:
    """Return a prompt with other words from the places on that are given."""
    if not replaced:
        return parsed
    words, original = list(parsed.words), list(parsed.original)
    for start, span in sorted(replaced.items(), reverse=True):
        words[start : span.end] = span.words
        original[start : span.end] = span.original
    return parsed.with_words(tuple(words), tuple(original))


def paired(one: ParsedPrompt, other: ParsedPrompt) -> Pairs | None:
    """Return each quantity of a prompt with the same one of the other, or None if one of them lacks any."""
    pairs, ours, theirs = matched(list(_quantities(one)), list(_quantities(other)))
    spelled = _has_spelled_out(one, other, theirs, ours) and _has_spelled_out(other, one, ours, theirs)
    return pairs if spelled else None


def written_in_digits(parsed: ParsedPrompt) -> list[Quantity]:
    """Return the quantities of a prompt that it does not write in words: English ones mean nothing elsewhere."""
    return [each for each in _quantities(parsed) if not parsed.original[each.place][0].isalpha()]


def matched(ours: list[Quantity], theirs: list[Quantity]) -> tuple[Pairs, Sequence[Quantity], Sequence[Quantity]]:
    """Return the quantities that are the same in two prompts, in pairs, and those that are left of each."""
    if len(ours) == len(theirs) and all(map(_same, ours, theirs)):
        return list(zip(ours, theirs, strict=True)), (), ()
    pairs = []
    for same in (_identical, _same):
        for quantity in tuple(ours):
            match = next((each for each in theirs if same(quantity, each)), None)
            if match is not None:
                ours.remove(quantity)
                theirs.remove(match)
                pairs.append((quantity, match))
    return pairs, ours, theirs


def _identical(one: Quantity, other: Quantity) -> bool:
    return one.text == other.text and one.units == other.units


def _same(one: Quantity, other: Quantity) -> bool:
    """Return whether two quantities are equal, in the same unit or in others."""
    if one.text == other.text and (not one.units or not other.units or not one.units.isdisjoint(other.units)):
        return True
    if not one.units or not other.units:
        return False
    a, b = _value(one.text), _value(other.text)
    return (
        a is not None
        and b is not None
        and any(x.measures == y.measures and a * x.size == b * y.size for x in one.units for y in other.units)
    )


def _value(text: str) -> Fraction | None:
    # An exponent makes a number of any size of a few digits, and "1.000" is a thousand in some languages.
    if len(text) > _LONGEST_FRACTION or "e" in text.lower() or text[-4:-3] == ".":
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None


def _has_spelled_out(
    one: ParsedPrompt, other: ParsedPrompt, lacking: Sequence[Quantity], left: Sequence[Quantity]
) -> bool:
    """Return whether a prompt has the quantities that it lacks in words: "first", "one", or "a week".

    Args:
        one: the prompt.
        other: the prompt that has the quantities.
        lacking: the quantities.
        left: those of `one` that `other` lacks.
    """
    if not lacking:
        return True
    singles = [] if left else list(_single_units(one))
    ones = one.words.count("one") - other.words.count("one")
    for quantity in lacking:
        if SPELLED_OUT.get(quantity.text) in one.vocabulary:
            continue
        single = next((each for each in singles if _same(each, quantity)), None)
        if single is not None:
            singles.remove(single)
            continue
        ones -= 1
        if quantity.text != "1" or ones < 0:
            return False
    return True


def _single_units(parsed: ParsedPrompt) -> Iterator[Quantity]:
    """Yield what "a week" and "one week" are, which only count as numbers beside "1 week" or "7 days"."""
    for place, word in enumerate(parsed.words[:-1]):
        if word in ("a", "an", "one"):
            units, end = _units_behind(parsed, place)
            if units:
                yield Quantity("1", place, units, place, end, "")


_Read: TypeAlias = tuple[tuple[str, ...], tuple[str, ...], tuple[Number, ...]]

_QUANTITIES: Memo[_Read, tuple[Quantity, ...]] = Memo(limit_bytes=2**19)
"""The quantities of the prompts read last: two guards ask for them, about one prompt and several others."""

_BYTES_PER_PROMPT, _BYTES_PER_WORD, _BYTES_PER_NUMBER = 400, 130, 400
"""What they take in memory with what they were read from."""


def _quantities(parsed: ParsedPrompt) -> tuple[Quantity, ...]:
    if not parsed.numbers:
        return ()
    read = (parsed.words, parsed.original, parsed.numbers)
    known = _QUANTITIES.get(read)
    if known is None:
        known = tuple(_read_quantities(parsed))
        words, numbers = _BYTES_PER_WORD * len(parsed.words), _BYTES_PER_NUMBER * len(parsed.numbers)
        _QUANTITIES.put(read, known, _BYTES_PER_PROMPT + words + numbers)
    return known


def _read_quantities(parsed: ParsedPrompt) -> Iterator[Quantity]:
    for text, place in parsed.numbers:
        start, (units, end) = place, _units_behind(parsed, place)
        if not units and place and (units := _currency(parsed, place - 1)):
            start = place - 1
        yield Quantity(text, place, units, start, end, _bound(parsed.words, start, end))


def _units_behind(parsed: ParsedPrompt, place: int) -> tuple[Units, int]:
    """Return what the words behind a number mean as a unit, and the place after them."""
    behind = parsed.original[place + 1 : place + 1 + longest_name(parsed.words[place + 1 : place + 2])]
    for length in range(len(behind), 0, -1):
        name = "_".join(behind[:length])
        if is_unit(name):
            return units_of(name, capitals_count=_has_both_cases(parsed)), place + 1 + length
    return frozenset(), place + 1


def _has_both_cases(parsed: ParsedPrompt) -> bool:
    text = "".join(parsed.original)
    return not text.islower() and not text.isupper()


def _currency(parsed: ParsedPrompt, place: int) -> Units:
    """Return what a word in front of a number means as a currency."""
    units = units_of(parsed.original[place], capitals_count=False)
    return frozenset(unit for unit in units if unit.measures.startswith("currency"))


def _bound(words: Sequence[str], start: int, end: int) -> str:
    """Return how the words around a number bound it."""
    if start and words[start - 1] in _LAST_OF_BOUNDS:
        for length in (3, 2, 1):
            found = _BOUNDS.get(" ".join(words[max(0, start - length) : start]))
            if found:
                return found
    for place in (start + 1, end):
        if place + 1 < len(words) and words[place] in ("or", "and"):
            return _OPEN_ENDS.get(words[place + 1], "")
    return ""
