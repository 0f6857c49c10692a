"""Labelled pairs of prompts: what a cache is measured on, and the files they come in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from recallm import checks
from recallm.errors import InvalidValueError, a_kind

FAULTS_SHOWN = 5
"""How many bad lines a message names: enough to see what is wrong, on one screen."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two prompts, and whether one answer serves both.

    Attributes:
        a: the prompt of a call.
        b: the prompt whose answer is stored.
        same: whether the stored answer is right for the call; if not, the two prompts only look alike.
        kind: what sort of pair it is, for a breakdown.
    """

    a: str
    b: str
    same: bool
    kind: str | None = None


Pairs: TypeAlias = str | Path | Iterable[Pair | Mapping[str, object]]
"""A JSONL file, or pairs: `Pair`, or mappings with a, b, same and perhaps kind."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pairs that have a label, and how many had none."""

    pairs: tuple[Pair, ...]
    unlabelled: int = 0


def labelled(pairs: Pairs) -> Labelled:
    """Return the pairs that have a label.

    Args:
        pairs: see `Pairs`. Each line of a file is a JSON object with ``a``, ``b`` and ``same``, and perhaps ``kind``.
            ``prompt`` and ``cached_prompt`` may stand in the place of a and b, as `recallm.record` writes them. A line
            without ``same``, or with null, has no label and is left out.

    Raises:
        InvalidValueError: something is not a pair (the message says which), or nothing has a label.
        InvalidTypeError: `pairs` is of another type.
        OSError: the file cannot be read.
    """
    if isinstance(pairs, str | Path):
        return _checked(*_read(Path(pairs)), str(pairs))
    found: list[Pair | None] = []
    faults: list[str] = []
    for place, item in enumerate(checks.pairs(pairs)):
        _collect(item, f"pair {place}", found, faults)
    return _checked(found, faults, "pairs")


def _read(path: Path) -> tuple[list[Pair | None], list[str]]:
    found: list[Pair | None] = []
    faults: list[str] = []
    # Bytes first: a line that is not UTF-8 is then a fault of that line.
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (ValueError, RecursionError):
            faults.append(f"line {number} is not JSON")
        else:
            _collect(item, f"line {number}", found, faults)
    return found, faults


def _collect(item: object, place: str, found: list[Pair | None], faults: list[str]) -> None:
    try:
        found.append(item if isinstance(item, Pair) else parse_pair(item))
    except InvalidValueError as error:
        faults.append(f"{place} {error}")


def parse_pair(item: object) -> Pair | None:
    """Return the pair that a decoded line holds, or None if the line has no label.

    Raises:
        InvalidValueError: `item` is not a pair; the message completes "line 3 …" and quotes no prompt.
    """
    if not isinstance(item, Mapping):
        raise InvalidValueError(f"is {a_kind(item)}, not an object with a, b and same")
    same = item.get("same")
    if same is None:
        return None
    # 0 and 1 are how many published sets write their labels.
    if not isinstance(same, bool) and (not isinstance(same, int) or same not in (0, 1)):
        raise InvalidValueError('has a "same" that is neither true nor false')
    a, b = _text(item, "a", "prompt"), _text(item, "b", "cached_prompt")
    kind = item.get("kind")
    if kind is not None and not isinstance(kind, str):
        raise InvalidValueError('has a "kind" that is not a string')
    return Pair(a, b, bool(same), kind)


def _text(item: Mapping[object, object], *names: str) -> str:
    for name in names:
        if isinstance(text := item.get(name), str):
            return text
    raise InvalidValueError(f'has no string "{names[0]}" (or "{names[1]}")')


def _checked(found: list[Pair | None], faults: list[str], source: str) -> Labelled:
    if faults:
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise InvalidValueError(f"{source}: {'; '.join(faults[:FAULTS_SHOWN])}{more}")
    pairs = tuple(pair for pair in found if pair is not None)
    if not pairs:
        raise InvalidValueError(
            f'{source}: no labelled pairs ({len(found)} without a label); give each "same": true or false'
        )
    return Labelled(pairs, len(found) - len(pairs))
