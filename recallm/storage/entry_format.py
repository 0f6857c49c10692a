"""Encodes entries as a few fields of bytes, and decodes them: nothing that is read is believed unchecked."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import isfinite
from typing import TYPE_CHECKING, Any

from recallm.concurrency.signals import let_through
from recallm.errors import InvalidValueError
from recallm.records import Entry

if TYPE_CHECKING:
    from recallm.typing import Vector

FORMAT = 1
"""The number in every entry; entries with another number are ignored."""

FIELDS = (b"i", b"m", b"t", b"y", b"v", b"s")
"""The fields of an entry, one letter each, as every entry has them.

i (id): the label by which a storage knows it. m (metadata): the facts, a JSON list. t (text): the prompt. y: the
payload. v (vector): little-endian float32, or empty if there is none. s (signature): HMAC-SHA256 of the others, if
there is a secret.
"""

MAX_LABEL_BYTES = 128
MAX_FACTS_BYTES = 16_384
MAX_DIM = 16_384
MAX_SECONDS = (1 << 52) / 1000
"""The longest time, about 140,000 years: in ms, and added to the time, it is exact as a float."""

_NORM_TOLERANCE = 1e-3
"""How far the squared norm of a stored vector may be from 1, as in the vector index."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry that was read.

    Attributes:
        entry: the entry.
        label: what it was labelled with.
        stored_ms: when it was stored, in ms by the storage's clock.
        expires_ms: when it expires, by the same clock; None: never.
    """

    entry: Entry
    label: bytes
    stored_ms: int
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class EntryFormat:
    """Encodes entries, and decodes only what it could have encoded.

    Attributes:
        secret: key of the signatures (HMAC-SHA256); None: signatures are neither made nor asked for.
        encrypt: bytes → bytes, for prompts and payloads; None: they are stored as they are.
        decrypt: its inverse, which raises if the bytes are not its own.
        max_bytes: the most bytes that a prompt, or a payload, may take where it is stored.
        signed_label_bytes: how many bytes of its label are signed; a server may have given the rest.
    """

    secret: bytes | None = field(repr=False)
    encrypt: Callable[[bytes], bytes] | None
    decrypt: Callable[[bytes], bytes] | None
    max_bytes: int
    signed_label_bytes: int = MAX_LABEL_BYTES

    def encode(
        self, entry: Entry, label: bytes, generation: str, stored_ms: int, expires_ms: int | None
    ) -> dict[bytes, bytes]:
        """Return an entry as fields.

        Args:
            entry: the entry.
            label: what the storage knows it by, at most `MAX_LABEL_BYTES`.
            generation: the namespace's generation.
            stored_ms: the time by the storage's clock.
            expires_ms: when the entry expires, by the same clock; None: never.

        Raises:
            InvalidValueError: a field is larger than `decode` allows.
        """
        dim = 0 if entry.vector is None else entry.vector.size
        fresh_for = None if entry.fresh_for is None else min(entry.fresh_for, MAX_SECONDS)
        facts = [FORMAT, generation, stored_ms, expires_ms, entry.seconds, entry.tokens, fresh_for, dim]
        texts = [entry.namespace, entry.partition, entry.key]
        # Only if there are any: versions of recallm that know neither read the other entries.
        more = [entry.cost, entry.tags] if entry.tags else [entry.cost] if entry.cost else []
        prompt = entry.prompt.encode("utf-8", "surrogatepass")
        fields = {
            b"i": label,
            b"m": json.dumps([*facts, *texts, *more], separators=(",", ":")).encode(),
            b"t": prompt if self.encrypt is None else self.encrypt(prompt),
            b"y": entry.payload if self.encrypt is None else self.encrypt(entry.payload),
            b"v": b"" if entry.vector is None else entry.vector.astype("<f4").tobytes(),
        }
        if not self._is_allowed(list(fields.values())):
            sizes = {name.decode(): len(value) for name, value in fields.items()}
            raise InvalidValueError(
                f"an entry whose fields take {sizes} bytes is not stored: the prompt and the payload may take "
                f"{self.max_bytes} each, the names {MAX_FACTS_BYTES}; raise max_bytes or leave it out with store_if"
            )
        if self.secret is not None:
            fields[b"s"] = self._signature(list(fields.values()))
        return fields

    def decode(self, values: Sequence[Any], namespace: str, generation: str, now_ms: float) -> StoredEntry | None:
        """Return the live entry that the fields hold, or None if it has expired, or if anything about them is odd.

        Args:
            values: what was read for `FIELDS`.
            namespace: the namespace in which the entry was looked for.
            generation: the namespace's generation.
            now_ms: the time by the storage's clock.
        """
        if len(values) != len(FIELDS) or not all(isinstance(value, bytes) for value in values[:-1]):
            return None
        if not self._is_allowed(values):
            return None
        if self.secret is not None and not (
            isinstance(values[-1], bytes) and hmac.compare_digest(values[-1], self._signature(values[:-1]))
        ):
            return None
        try:
            return self._decode(values, namespace, generation, now_ms)
        except Exception as error:  # noqa: BLE001  # bytes from elsewhere may fail in any way
            let_through(error)
            return None

    def _decode(self, values: Sequence[bytes], namespace: str, generation: str, now_ms: float) -> StoredEntry | None:
        label, facts, prompt, payload, vector, _ = values
        format_, born_in, stored_ms, expires_ms, seconds, tokens, fresh_for, dim, *texts = json.loads(facts)
        theirs, partition, key, *more = texts
        known: tuple[Any, Any] = (*more, *(0.0, ())[len(more) :])
        cost, tags = known
        if (format_, born_in, theirs) != (FORMAT, generation, namespace):
            return None
        if not (_is_count(stored_ms) and (expires_ms is None or _is_count(expires_ms)) and _is_count(tokens)):
            return None
        if expires_ms is not None and expires_ms <= now_ms:
            return None
        if not (isinstance(partition, str) and isinstance(key, str) and _is_seconds(seconds)):
            return None
        if not (fresh_for is None or _is_seconds(fresh_for)) or not _is_seconds(cost):
            return None
        if self.decrypt is not None:
            prompt, payload = self.decrypt(prompt), self.decrypt(payload)
        text = prompt.decode("utf-8", "surrogatepass")
        unit = _vector(vector, dim)
        entry = Entry(key, namespace, partition, text, unit, bytes(payload), float(seconds), tokens, fresh_for)
        if more:
            entry = entry._replace(cost=float(cost), tags=tuple(map(str, tags)))
        return StoredEntry(entry, label, stored_ms, expires_ms)

    def _is_allowed(self, values: Sequence[bytes]) -> bool:
        label, facts, prompt, payload, vector = map(len, values[:5])
        return (
            label <= MAX_LABEL_BYTES
            and facts <= MAX_FACTS_BYTES
            and max(prompt, payload) <= self.max_bytes
            and vector <= 4 * MAX_DIM
        )

    def _signature(self, values: Sequence[bytes]) -> bytes:
        signed = hmac.new(self.secret or b"", digestmod=sha256)
        for value in (values[0][: self.signed_label_bytes], *values[1:]):
            signed.update(len(value).to_bytes(8))
            signed.update(value)
        return signed.digest()


def namespace_in(facts: Any) -> object:
    """Return what an entry's field of facts says is its namespace, unchecked, or None if it says nothing."""
    try:
        return json.loads(facts)[8] if len(facts) <= MAX_FACTS_BYTES else None
    except Exception as error:  # noqa: BLE001  # bytes from elsewhere may fail in any way
        let_through(error)
        return None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]  # checked just before


def _vector(stored: bytes, dim: object) -> Vector | None:
    """Return the unit vector that bytes hold, shape (dim,), or None if there are no bytes and `dim` is 0.

    Raises:
        ValueError: the bytes are no unit vector of this dimension.
    """
    import numpy as np  # loaded by whoever embeds first

    if type(dim) is not int or len(stored) != 4 * dim:
        raise ValueError("the vector has another length than its entry says")
    if not dim:
        return None
    vector = np.frombuffer(stored, dtype="<f4")
    if not abs(float(np.dot(vector, vector)) - 1.0) <= _NORM_TOLERANCE:
        raise ValueError("the vector is not finite, or not of unit length")
    return vector
