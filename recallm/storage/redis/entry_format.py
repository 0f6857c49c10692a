"""Entries as the fields of a Redis hash, and back: whatever is read is checked before it is believed."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from typing import TYPE_CHECKING, Any

from recallm.errors import InvalidValueError
from recallm.records import Entry
from recallm.storage.redis.keys import EntryVersion

if TYPE_CHECKING:
    from recallm.typing import Vector

FORMAT = 1
FIELDS = (b"i", b"m", b"t", b"y", b"v", b"s")
"""Version, facts as JSON, prompt, payload, vector as float32, signature."""

MAX_FACTS_BYTES = 16_384
MAX_DIM = 16_384
_LENGTH_SLACK = 1e-3


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry that was read, the version it was stored as, and when, in ms."""

    entry: Entry
    version: EntryVersion
    stored_ms: int


@dataclass(frozen=True, slots=True)
class EntryFormat:
    """Writes entries, and reads only what it would have written.

    Attributes:
        secret: key of the signatures (HMAC-SHA256); None: none are made or asked for.
        encrypt: bytes → bytes, for prompts and payloads; None: they are kept as they are.
        decrypt: its inverse, which raises where the bytes are not its own.
        max_bytes: the most that a prompt, or a payload, may take on the server.
    """

    secret: bytes | None
    encrypt: Callable[[bytes], bytes] | None
    decrypt: Callable[[bytes], bytes] | None
    max_bytes: int

    def encode(
        self, entry: Entry, version: EntryVersion, generation: str, stored_ms: int, expires_ms: int | None
    ) -> dict[bytes, bytes]:
        """Return an entry as fields.

        Raises:
            InvalidValueError: a field is larger than what would be read.
        """
        dim = 0 if entry.vector is None else entry.vector.size
        facts = [FORMAT, generation, stored_ms, expires_ms, entry.seconds, entry.tokens, entry.fresh_for, dim]
        texts = [entry.namespace, entry.partition, entry.key]
        prompt = entry.prompt.encode("utf-8", "surrogatepass")
        fields = {
            b"i": version.pack(),
            b"m": json.dumps([*facts, *texts], separators=(",", ":")).encode(),
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

    def with_version(self, fields: Mapping[bytes, bytes], version: EntryVersion) -> dict[bytes, bytes]:
        """Return the fields of an entry that is stored as another version."""
        changed = {**fields, b"i": version.pack()}
        if self.secret is not None:
            changed[b"s"] = self._signature([value for name, value in changed.items() if name != b"s"])
        return changed

    def decode(self, values: Sequence[Any], namespace: str, generation: str, now_ms: float) -> StoredEntry | None:
        """Return the live entry that the fields hold, or None where anything about them is odd.

        Args:
            values: what the server returned for `FIELDS`.
            namespace: where the entry was looked for.
            generation: the namespace's generation.
            now_ms: by the server's clock.
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
        except Exception:  # noqa: BLE001  # bytes from elsewhere may fail in any way
            return None

    def _decode(self, values: Sequence[bytes], namespace: str, generation: str, now_ms: float) -> StoredEntry | None:
        packed, facts, prompt, payload, vector, _ = values
        format_, born_in, stored_ms, expires_ms, seconds, tokens, fresh_for, dim, *texts = json.loads(facts)
        theirs, partition, key = texts
        version = EntryVersion.unpack(packed)
        if (format_, born_in, theirs) != (FORMAT, generation, namespace) or version is None:
            return None
        if not (_is_count(stored_ms) and (expires_ms is None or _is_count(expires_ms)) and _is_count(tokens)):
            return None
        if expires_ms is not None and expires_ms <= now_ms:
            return None
        if not (isinstance(partition, str) and isinstance(key, str) and _is_seconds(seconds)):
            return None
        if not (fresh_for is None or _is_seconds(fresh_for)):
            return None
        if self.decrypt is not None:
            prompt, payload = self.decrypt(prompt), self.decrypt(payload)
        text = prompt.decode("utf-8", "surrogatepass")
        unit = _vector(vector, dim)
        entry = Entry(key, namespace, partition, text, unit, bytes(payload), float(seconds), tokens, fresh_for)
        return StoredEntry(entry, version, stored_ms)

    def _is_allowed(self, values: Sequence[bytes]) -> bool:
        version, facts, prompt, payload, vector = map(len, values[:5])
        return (
            version <= 128
            and facts <= MAX_FACTS_BYTES
            and max(prompt, payload) <= self.max_bytes
            and vector <= 4 * MAX_DIM
        )

    def _signature(self, values: Sequence[bytes]) -> bytes:
        signed = hmac.new(self.secret or b"", digestmod=sha256)
        for value in values:
            signed.update(len(value).to_bytes(8))
            signed.update(value)
        return signed.digest()


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]  # checked just before


def _vector(stored: bytes, dim: object) -> Vector | None:
    """Return the unit vector that bytes hold, or None for no bytes.

    Raises:
        ValueError: they hold none.
    """
    import numpy as np  # loaded by whoever embeds first

    if type(dim) is not int or len(stored) != 4 * dim:
        raise ValueError("the vector has another length than its entry says")
    if not dim:
        return None
    vector = np.frombuffer(stored, dtype="<f4")
    if not abs(float(np.dot(vector, vector)) - 1.0) <= _LENGTH_SLACK:
        raise ValueError("the vector is not finite, or not of unit length")
    return vector
