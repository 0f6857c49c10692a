"""Opens what a command's arguments name: a storage, or an object of a module of the user's."""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from recallm import checks
from recallm.errors import InvalidTypeError, InvalidValueError, MissingExtraError, UnknownNameError, a_kind
from recallm.registry import get_storage
from recallm.storage.base import StorageBackend

if TYPE_CHECKING:
    import argparse

SECRET, ENCRYPTION_KEY = "RECALLM_SECRET", "RECALLM_ENCRYPTION_KEY"
"""Environment variables: the key of signatures (text, or ``hex:`` or ``base64:`` and bytes), and Fernet keys."""

TIMEOUT_SECONDS = 10.0
"""How long a server may take for one reply, or others may write to a file: nobody's call waits here."""

_REDIS = ("redis://", "rediss://", "unix://")


def add_storage(parser: argparse.ArgumentParser) -> None:
    """Declare the storage and how it is opened."""
    parser.add_argument(
        "storage", metavar="URL", help="sqlite:///…, redis://…, another storage's URL, or module:attribute"
    )
    parser.add_argument("--prefix", help="what the keys on a Redis server start with, if not recallm")


def opened(options: argparse.Namespace, *, creates: bool = False) -> StorageBackend:
    """Return the storage that the command names.

    Args:
        options: those of the command.
        creates: whether a file that is not there may be made.

    Raises:
        RecallmError: there is none of this name, or it cannot be opened so; no message shows a URL.
    """
    text = options.storage
    if text.lower().startswith(_REDIS):
        return _opened_redis(text, options.prefix, _keys(os.environ))
    if options.prefix is not None:
        raise InvalidValueError("--prefix goes with the URL of a Redis server; leave it out")
    if "://" in text:
        return _opened_file(text, _keys(os.environ), creates=creates)
    storage = named_object(text, "a storage")
    if not isinstance(storage, StorageBackend):
        raise InvalidTypeError(f"{text} is {a_kind(storage)}; name a storage, or give a URL")
    return storage


def named_object(path: str, what: str) -> Any:
    """Return an object that is named ``module:attribute``; the module is imported, from this folder too.

    Raises:
        InvalidValueError: `path` has another form.
        UnknownNameError: there is no such module, or no such attribute in it.
    """
    module, colon, attributes = path.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *attributes.split("."))):
        raise InvalidValueError(f"{path!r} does not name {what}; use module:attribute, such as app.answers:answer")
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109  # as sys.path has it
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UnknownNameError(f"there is no module {error.name!r} here; run this where it can be imported") from None
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise UnknownNameError(f"{module} has no {attribute!r}, which {path!r} names") from None
    return found


def _opened_redis(url: str, prefix: str | None, keys: Mapping[str, Any]) -> StorageBackend:
    from recallm.storage.redis.storage import RedisStorage

    given = keys if prefix is None else {**keys, "prefix": prefix}
    return RedisStorage.from_url(url, timeout=TIMEOUT_SECONDS, client_name="recallm-cli", **given)


def _opened_file(url: str, keys: Mapping[str, Any], *, creates: bool) -> StorageBackend:
    """Return the storage of a URL; one in a file must be there, and is read with the keys that there are."""
    from recallm.storage.sqlite.storage import SQLiteStorage

    storage = get_storage(url)
    if not isinstance(storage, SQLiteStorage):
        return storage
    if not creates and not storage.path.exists():
        raise InvalidValueError(f"there is no file {str(storage.path)!r}")
    return SQLiteStorage(storage.path, max_entries=storage.max_entries, timeout=TIMEOUT_SECONDS, **keys)


def _keys(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the keys in the environment, as arguments of a storage."""
    keys: dict[str, Any] = {}
    if secret := environ.get(SECRET):
        keys["secret"] = checks.secret(_secret(secret), SECRET)
    if given := environ.get(ENCRYPTION_KEY):
        keys["encrypt"], keys["decrypt"] = _ciphers(given)
    return keys


def _secret(text: str) -> bytes | str:
    """Return a secret as a storage takes it."""
    try:
        if text.startswith("hex:"):
            return bytes.fromhex(text.removeprefix("hex:"))
        if text.startswith("base64:"):
            return base64.b64decode(text.removeprefix("base64:"), validate=True)
    except ValueError:
        raise InvalidValueError(f"{SECRET} is no such text; use hex:…, base64:…, or the text itself") from None
    return text


def _ciphers(keys: str) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """Return what encrypts by the first of these keys, and what decrypts by any."""
    try:
        from cryptography.fernet import Fernet, MultiFernet
    except ImportError:
        raise MissingExtraError(f"{ENCRYPTION_KEY} is set, which needs: pip install cryptography") from None
    try:
        fernet = MultiFernet([Fernet(key) for key in re.split(r"[,\s]+", keys.strip())])
    except ValueError:
        raise InvalidValueError(
            f"{ENCRYPTION_KEY} is no key of Fernet's; if entries are encrypted otherwise, name the program's own "
            "storage: module:attribute"
        ) from None
    return fernet.encrypt, fernet.decrypt
