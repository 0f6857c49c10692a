"""Values of libraries that hide what they hold, taken apart by what they say of themselves: URLs, secrets, arrays.

A library's class is found in the modules that are loaded; none is imported, but NumPy if an array was stored.
"""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

from recallm.codec.lookup import loaded_class, path_of
from recallm.codec.refusals import Refusal
from recallm.errors import UnknownTypeError

_MAX_URL = 65_536


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
    if "numpy" in sys.modules:
        from recallm.codec.arrays import array_parts

        if (found := array_parts(value)) is not None:
            return found
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
    if path.startswith("numpy."):
        from recallm.codec.arrays import array_of

        return array_of(path, parts)
    row = ROWS[path]
    cls = loaded_class(path)
    if cls is None:
        raise UnknownTypeError(path)
    return row.from_text(cls, parts)
