"""Values of libraries that hide what they hold, taken apart by what they say of themselves: URLs, secrets, numbers.

A library's class is found in the modules that are loaded; none is imported.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from recallm.codec.lookup import loaded_class, path_of
from recallm.codec.refusals import Refusal
from recallm.errors import UnknownTypeError

MAX_ARRAY_BYTES = 32 * 2**20
"""How large an array may be."""

_MAX_URL = 65_536
_PLAIN_DTYPE = re.compile(
    r"\|b1|[<>|](?:[iu][1248]|f[248]|c8|c16|[SU][1-9]\d{0,8}|[mM]8(?:\[\d{0,9}[a-zA-Zμ]{1,7}\])?)"
)
_LAST_CHARACTER = 0x10FFFF


class Row(NamedTuple):
    """Takes values of one class of a library apart.

    Attributes:
        to_text: returns the text of a value.
        from_text: returns the value of a class and a text.
    """

    to_text: Callable[[Any], Any]
    from_text: Callable[[Any, Any], Any]


def _url(cls: Any, text: str) -> Any:
    if type(text) is not str or len(text) > _MAX_URL:
        raise ValueError("not a URL")
    return cls(text)


def _secret(kind: type) -> Callable[[Any, Any], Any]:
    def made(cls: Any, held: Any) -> Any:
        if kind is bytes:
            held = b64decode(held, validate=True)
        if type(held) is not str and type(held) is not bytes:
            raise TypeError("not a secret")
        return cls(held)

    return made


_URL = Row(str, _url)
_DSNS = "Postgres Cockroach Amqp Redis Mongo Kafka Nats MySQL MariaDB ClickHouse Snowflake"
_URLS = "AnyUrl AnyHttpUrl HttpUrl AnyWebsocketUrl WebsocketUrl FileUrl FtpUrl"

ROWS: dict[str, Row] = {
    "httpx.URL": _URL,
    "yarl.URL": Row(str, lambda cls, text: cls(text, encoded=True)),
    "yarl._url.URL": Row(str, lambda cls, text: cls(text, encoded=True)),
    "pydantic_core._pydantic_core.Url": _URL,
    "pydantic_core._pydantic_core.MultiHostUrl": _URL,
    **{f"pydantic.networks.{name}": _URL for name in _URLS.split()},
    **{f"pydantic.networks.{name}Dsn": _URL for name in _DSNS.split()},
    "pydantic.types.SecretStr": Row(lambda value: value.get_secret_value(), _secret(str)),
    "pydantic.types.SecretBytes": Row(lambda value: b64encode(value.get_secret_value()).decode(), _secret(bytes)),
}
"""By the path of a library's class, how its values are taken apart."""


def leaf_parts(value: Any) -> list[Any] | None:
    """Return the path and the parts of an array, or of a value of a library; None: it is no such value.

    Raises:
        Refusal: it would not come back equal.
    """
    cls = type(value)
    if cls is np.ndarray:
        return ["numpy.ndarray", _array_parts(value)]
    if isinstance(value, np.generic):
        return _scalar_parts(value)
    path = path_of(cls)
    row = ROWS.get(path)
    if row is None or loaded_class(path) is not cls:
        return None
    try:
        text = row.to_text(value)
        made = row.from_text(cls, text)
        is_same = type(made) is cls and bool(made == value)
    except Exception as error:  # noqa: BLE001  # libraries may raise anything
        raise Refusal(cls, f"{type(error).__name__} while it was read") from None
    if not is_same:
        raise Refusal(cls, "which would come back another")
    return [path, text]


def leaf(path: str, parts: Any) -> Any:
    """Return the value of what `leaf_parts` returned.

    Raises:
        UnknownTypeError: its library is not loaded.
    """
    if path == "numpy.ndarray":
        return _array(*parts)
    if path == "numpy.generic":
        return _array(parts[0], [], parts[1])[()]
    row = ROWS[path]
    cls = loaded_class(path)
    if cls is None:
        raise UnknownTypeError(path)
    return row.from_text(cls, parts)


def _array_parts(array: Any) -> list[Any]:
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
    if array.dtype.type is not cls or array.dtype.fields is not None or array.dtype.itemsize == 0:
        raise Refusal(cls)
    try:
        kind, _, content = _array_parts(array)
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
