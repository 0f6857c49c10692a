"""Bounds on the work that a payload may ask for, checked before it is done.

Whoever can write to a storage can write any payload. What is encoded is checked by the same bounds, so that what was
stored can be read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from decimal import Decimal
from itertools import accumulate
from operator import eq
from typing import Any

MAX_DEPTH = 200
"""How many values may lie inside each other: more of them could exhaust the stack."""

MAX_VALUES = 1_000_000
"""How many values JSON may hold; reading as many takes about a tenth of a second."""

MAX_TAGGED = 250_000
"""How many values may be dictionaries or need a tag; making as many takes less than half a second."""

MAX_DIGITS = 20_000
"""How many hexadecimal digits an integer may have, and how many characters a decimal number."""

MAX_FRACTION_BITS = 4096
"""How long the parts of a fraction may be; cancelling two of them takes 30 µs, and if they were longer the square."""

MAX_KEYS = 20_000
"""How many items and keys of sets and mappings may be other than texts and bytes.

Hashes of texts differ between processes. Those of numbers can be chosen so that each takes a search through all others.
"""

MAX_EQUAL_HASHES = 1000
"""How many of these may have the hash of another one; -1 and -2 do, and so do tuples of them."""

MAX_PATTERN_COST = 2000
"""How many characters all regular expressions may have; a set of Unicode characters counts as 200, as it takes 6 ms."""

# An instance takes three levels of JSON: its tag, its parts and its fields.
_MAX_JSON_DEPTH = 3 * MAX_DEPTH + 3
_NO_BRACKETS = bytes(set(range(256)).difference(b"[]{}"))
_STEPS = dict(zip(b"[]{}", (1, -1, 1, -1), strict=True))
_DIGITS = bytes(48 if chr(code).isascii() and chr(code).isdigit() else 32 for code in range(256))
_MANY_DIGITS = b"0" * 5000
_WELL_MIXED = frozenset((str, bytes, type(None), bool))


class TooMuchError(ValueError):
    """A payload asks for more work than any response is worth."""


class Work:
    """Counts the work that restoring one response takes, as far as its size does not tell.

    Attributes:
        held: what was loaded for it, by name.
    """

    __slots__ = ("_equal", "_keys", "_patterns", "held")

    def __init__(self) -> None:
        self._keys = self._equal = self._patterns = 0
        self.held: dict[str, Any] = {}

    def hash(self, keys: Iterable[Any]) -> None:
        """Count the keys of a mapping, or the items of a set, before it is made.

        Raises:
            TooMuchError: there would be too many, or too many of one hash.
        """
        mixed = [key for key in keys if type(key) not in _WELL_MIXED]
        if not mixed:
            return
        self._keys += len(mixed)
        if self._keys > MAX_KEYS:
            raise TooMuchError(f"more than {MAX_KEYS:,} keys and items of sets that are no texts")
        hashes = sorted(map(hash, mixed))
        self._equal += sum(map(eq, hashes, hashes[1:]))
        if self._equal > MAX_EQUAL_HASHES:
            raise TooMuchError(f"more than {MAX_EQUAL_HASHES:,} keys that have the hash of another")

    def compile(self, pattern: str | bytes) -> None:
        """Count a regular expression before it is compiled.

        Raises:
            TooMuchError: it is too long, or there have been too many.
        """
        text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
        is_plain = text.isascii() and not any(escape in text for escape in (r"\u", r"\U", r"\N", r"\x"))
        self._patterns += len(text) + (0 if is_plain else 200 * text.count("["))
        if self._patterns > MAX_PATTERN_COST:
            raise TooMuchError("regular expressions that take long to compile")


def check_digits(text: str) -> str:
    """Return the text of a number. Raises `TooMuchError` if it is too long."""
    if len(text) > MAX_DIGITS:
        raise TooMuchError(f"a number of more than {MAX_DIGITS:,} digits")
    return text


def check_decimal(value: Decimal) -> str:
    """Return a decimal number as text. Raises `TooMuchError` if it is too long."""
    return check_digits(str(value))


def check_fraction(*parts: int) -> None:
    """Raise `TooMuchError` if a part of a fraction is too long."""
    if any(part.bit_length() > MAX_FRACTION_BITS for part in parts):
        raise TooMuchError(f"a fraction of more than {MAX_FRACTION_BITS:,} bits")


def check_json(text: bytes, *, tagged: bool) -> None:
    """Raise `TooMuchError` if JSON is so deep, or holds so much, that using it could exhaust the stack or take long.

    Args:
        text: the JSON.
        tagged: whether its objects may stand for values of other types.
    """
    if len(text) > sys.get_int_max_str_digits() == 0 and _MANY_DIGITS in text.translate(_DIGITS):
        # Python's own limit is off, and reading the digits takes time that is quadratic in their number.
        _check_digits_outside_texts(text)
    objects = text.count(b"{")
    if text.count(b"[") + objects <= _MAX_JSON_DEPTH and text.count(b",") <= MAX_VALUES:
        return
    outside = _outside_texts(text)
    brackets = outside.translate(None, _NO_BRACKETS)
    if len(brackets) + outside.count(b",") > MAX_VALUES or (tagged and outside.count(b"{") > MAX_TAGGED):
        raise TooMuchError(f"more than {MAX_TAGGED:,} values of types that JSON lacks, or {MAX_VALUES:,} values")
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > _MAX_JSON_DEPTH:
        raise TooMuchError("JSON nested too deep")


def _check_digits_outside_texts(text: bytes) -> None:
    if _MANY_DIGITS in _outside_texts(text, b'"').translate(_DIGITS):
        raise TooMuchError("a number of too many digits")


def _outside_texts(text: bytes, between: bytes = b"") -> bytes:
    return between.join(text.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
