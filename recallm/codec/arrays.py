"""Arrays and numbers of NumPy, taken apart into dtype, shape and bytes; only of plain dtypes."""

from __future__ import annotations

import math
import re
from base64 import b64decode, b64encode
from typing import Any

import numpy as np

from recallm.codec.refusals import Refusal

MAX_ARRAY_BYTES = 32 * 2**20
"""How large an array may be."""

_PLAIN_DTYPE = re.compile(
    r"\|b1|[<>|](?:[iu][1248]|f[248]|c8|c16|[SU][1-9]\d{0,8}|[mM]8(?:\[\d{0,9}[a-zA-Zμ]{1,7}\])?)"
)
_LAST_CHARACTER = 0x10FFFF


def array_parts(value: Any) -> list[Any] | None:
    """Return the path and the parts of an array or a number; None: it is neither.

    Raises:
        Refusal: its dtype is not plain, or it is too large.
    """
    if type(value) is np.ndarray:
        return ["numpy.ndarray", _parts(value)]
    return _scalar_parts(value) if isinstance(value, np.generic) else None


def array_of(path: str, parts: list[Any]) -> Any:
    """Return the array or number of what `array_parts` returned."""
    if path == "numpy.ndarray":
        return _array(*parts)
    if path != "numpy.generic":
        raise ValueError("neither an array nor a number")
    kind, content = parts
    return _array(kind, [], content)[()]


def _parts(array: Any) -> list[Any]:
    """Return dtype, shape and content of an array."""
    kind = array.dtype.str
    if array.dtype.fields is not None or array.dtype.subdtype is not None or _PLAIN_DTYPE.fullmatch(kind) is None:
        raise Refusal(np.ndarray, f"whose dtype is {array.dtype.kind!r}")
    if array.nbytes > MAX_ARRAY_BYTES:
        raise Refusal(np.ndarray, f"of more than {MAX_ARRAY_BYTES:,} bytes")
    return [kind, list(array.shape), b64encode(array.tobytes()).decode()]


def _scalar_parts(value: Any) -> list[Any]:
    array = np.asarray(value)
    cls = type(value)
    if array.dtype.type is not cls or array.dtype.fields is not None:
        raise Refusal(cls)
    if array.dtype.kind in "SU" and array[()] != value:
        raise Refusal(cls, "which ends with zeros")
    try:
        kind, _, content = _parts(array)
    except Refusal:
        raise Refusal(cls) from None
    return ["numpy.generic", [kind, content]]


def _array(kind: str, shape: list[int], content: str) -> Any:
    if _PLAIN_DTYPE.fullmatch(kind) is None:
        raise ValueError("not a plain dtype")
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError("not a shape")
    dtype, data = np.dtype(kind), b64decode(content, validate=True)
    if len(data) != dtype.itemsize * math.prod(shape):
        raise ValueError("an array has another size")
    if dtype.kind == "b" and data.strip(b"\x00\x01"):
        raise ValueError("not truth values")
    if dtype.kind == "U" and np.frombuffer(data, dtype.byteorder + "u4").max(initial=0) > _LAST_CHARACTER:
        raise ValueError("not characters")
    return np.frombuffer(data, dtype).reshape(shape).copy() if data else np.empty(shape, dtype)
