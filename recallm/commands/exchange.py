"""The lines of files with entries: what ``export`` writes and ``load`` reads, and logs of questions and answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from recallm.errors import InvalidValueError, a_kind
from recallm.records import Candidate, Entry

if TYPE_CHECKING:
    from recallm.typing import Vector

FORMAT = 1
"""The number in every exported line; lines with another number are refused."""

NEWER = "newer"
"""What came of loading an entry in whose place the storage holds something that was stored later."""

_NORM_TOLERANCE = 1e-3

_CLOCK_SECONDS = 0.01
"""How far two tellings of one moment may lie apart: an age is read off another clock, and exported in milliseconds."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An entry that was exported.

    Attributes:
        entry: the entry.
        stored_at: when it was stored, in seconds since 1970.
        expires_at: when it expires, `math.inf` if never; None: its storage did not tell.
    """

    entry: Entry
    stored_at: float
    expires_at: float | None

    def is_older_than(self, candidate: Candidate | None, now: float) -> bool:
        """Claim that what a storage holds was stored later, given the time in seconds since 1970, or is a refusal."""
        if candidate is None:
            return False
        is_refused = candidate.entry.is_refusal and not self.entry.is_refusal
        return is_refused or now - candidate.age > self.stored_at + _CLOCK_SECONDS


@dataclass(frozen=True, slots=True)
class Logged:
    """A question and its answer, from a log.

    Attributes:
        prompt: the question; None if it is among `kwargs`.
        response: the answer, as JSON holds it.
        kwargs: arguments of the call, ``cache_context`` and the other call-time options among them.
    """

    prompt: str | None
    response: object
    kwargs: Mapping[str, Any]


def line_of(candidate: Candidate, now: float) -> str:
    """Return an entry as a line, given the time in seconds since 1970."""
    entry, _, age, expires_in = candidate
    row: dict[str, object] = {
        "recallm": FORMAT,
        "namespace": entry.namespace,
        "partition": entry.partition,
        "key": entry.key,
        "prompt": entry.prompt,
        "payload": base64.b64encode(entry.payload).decode(),
        "vector": None if entry.vector is None else base64.b64encode(entry.vector.astype("<f4").tobytes()).decode(),
        "stored_at": round(now - age, 3),
    }
    if expires_in is not None:
        row["expires_at"] = None if expires_in == inf else round(now + expires_in, 3)
    names = ("seconds", "tokens", "fresh_for", "tags", "cost")
    row |= {name: getattr(entry, name) for name in names}
    return json.dumps(row, separators=(",", ":"))


def parsed(line: str) -> Exported | Logged:
    """Return what a line holds.

    Raises:
        InvalidValueError: it holds neither; the message completes "line 3 …" and quotes nothing of it.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidValueError("is not JSON") from None
    if not isinstance(row, dict):
        raise InvalidValueError(f"is {a_kind(row)}, not an object")
    if "payload" in row:
        return _exported(row)
    if "response" not in row:
        raise InvalidValueError('has no "response", nor the "payload" of an exported entry')
    prompt, kwargs = row.get("prompt"), row.get("kwargs", {})
    if prompt is not None and not isinstance(prompt, str):
        raise InvalidValueError('has a "prompt" that is no string')
    if not isinstance(kwargs, dict):
        raise InvalidValueError('has "kwargs" that are no object')
    if prompt is None and not kwargs:
        raise InvalidValueError('has neither a "prompt" nor "kwargs" with one')
    return Logged(prompt, row["response"], kwargs)


def _exported(row: Mapping[str, Any]) -> Exported:
    if row.get("recallm") != FORMAT:
        raise InvalidValueError(f"is an entry of format {row.get('recallm')!r}; this version reads {FORMAT}")
    texts = [row.get(name) for name in ("key", "namespace", "partition", "prompt")]
    if not all(isinstance(text, str) for text in texts):
        raise InvalidValueError("has a key, namespace, partition or prompt that is no string")
    tokens = row.get("tokens", 0)
    if type(tokens) is not int or not 0 <= tokens < 1 << 63:
        raise InvalidValueError("has tokens that are no number")
    fresh_for = row.get("fresh_for")
    key, namespace, partition, prompt = map(str, texts)
    entry = Entry(
        key,
        namespace,
        partition,
        prompt,
        _vector(row.get("vector")),
        _decoded(row["payload"], "payload"),
        _number(row.get("seconds", 0.0), "seconds"),
        tokens,
        None if fresh_for is None else _number(fresh_for, "fresh_for"),
        _tags(row.get("tags", [])),
        _number(row.get("cost", 0.0), "cost"),
    )
    expires_at = None
    if "expires_at" in row:
        expires_at = inf if row["expires_at"] is None else _number(row["expires_at"], "expires_at")
    return Exported(entry, _number(row.get("stored_at"), "stored_at"), expires_at)


def _number(value: object, name: str) -> float:
    if type(value) not in (int, float) or not isfinite(value):  # type: ignore[arg-type]  # checked just before
        raise InvalidValueError(f'has a "{name}" that is no number')
    return float(value)  # type: ignore[arg-type]


def _tags(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidValueError('has "tags" that are no list of strings')
    return tuple(value)


def _decoded(value: object, name: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)  # type: ignore[arg-type]  # anything else raises
    except (ValueError, TypeError):
        raise InvalidValueError(f'has a "{name}" that is not base64') from None


def _vector(value: object) -> Vector | None:
    if value is None:
        return None
    import numpy as np

    stored = _decoded(value, "vector")
    if not stored or len(stored) % 4:
        raise InvalidValueError("has a vector of no whole number of floats")
    vector = np.frombuffer(stored, dtype="<f4").astype(np.float32)
    if not abs(float(np.dot(vector, vector)) - 1.0) <= _NORM_TOLERANCE:
        raise InvalidValueError("has a vector that is not of unit length")
    return vector
