"""Checks of arguments: each returns the value, or raises an error that says what is allowed and what to do.

What was written at decoration is quoted in messages. What comes with a call may be a prompt or a user's id, and is not.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

from recallm.errors import InvalidTypeError, InvalidValueError, a_kind
from recallm.typing import PROFILES, EmbedderLike, Guard, Namespace, Profile, Threshold

MIN_SECRET_BYTES = 16
"""How long a secret must be: 128 random bits cannot be guessed."""


def text(value: object, field: str, *, use: str = "use a non-empty str", of_call: bool = False) -> str:
    """Return a non-empty str.

    Args:
        value: what to check.
        field: its name in messages.
        use: what to do about a wrong one.
        of_call: whether it comes with a call, so that it may hold a prompt or a user's id, which no message quotes.

    Raises:
        InvalidTypeError: `value` is not a str.
        InvalidValueError: it is empty.
    """
    if not isinstance(value, str):
        raise _wrong_type(value, field, use, of_call=of_call)
    if not value:
        raise InvalidValueError(f"{field}={value!r} is empty; {use}")
    return value


def visible_text(value: object, field: str, *, use: str) -> str:
    """Return a str that is not blank. Raises as `text`."""
    if not isinstance(value, str):
        raise _wrong_type(value, field, use)
    if not value.strip():
        raise InvalidValueError(f"{field}={value!r} is blank; {use}")
    return value


def optional_text(value: object, field: str, *, of_call: bool = False) -> str | None:
    """Return a str, or None. Args as `text`.

    Raises:
        InvalidTypeError: `value` is something else.
    """
    if value is not None and not isinstance(value, str):
        raise _wrong_type(value, field, "use a str or None", of_call=of_call)
    return value


def flag(value: object, field: str) -> bool:
    """Return True or False.

    Raises:
        InvalidTypeError: `value` is something else.
    """
    if not isinstance(value, bool):
        raise _wrong_type(value, field, "use True or False")
    return value


def positive_int(value: object, field: str, *, use: str = "use a positive int", below: str = "below 1") -> int:
    """Return an int of at least 1.

    Raises:
        InvalidTypeError: `value` is not an int, or is a bool.
        InvalidValueError: it is below 1.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(value, field, use)
    if value < 1:
        raise InvalidValueError(f"{field}={value!r} is {below}; {use}")
    return value


def bound(value: object, field: str) -> int | None:
    """Return an upper bound of at least 1, or None for no bound. Raises as `positive_int`."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(value, field, "use an int or None")
    return positive_int(value, field, use="use a positive int, or None for no bound")


def seconds(
    value: object,
    field: str,
    *,
    use: str = "use a positive number of seconds or a datetime.timedelta",
    of_call: bool = False,
) -> float:
    """Return a positive, finite number or timedelta in seconds. Args as `text`.

    Raises:
        InvalidTypeError: `value` is neither a number nor a timedelta.
        InvalidValueError: it is not positive and finite.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise _wrong_type(value, field, use, of_call=of_call)
    if not 0 < number <= sys.float_info.max:
        raise InvalidValueError(f"{field}{'' if of_call else f'={value!r}'} is not positive and finite; {use}")
    return float(number)


def ttl(value: object, field: str = "ttl", *, of_call: bool = False) -> float | None:
    """Return a time to live in seconds, or None for no expiry; a text says it as ``"1h30m"`` does.

    Args and Raises as `seconds`.
    """
    use = "use a positive number of seconds, a datetime.timedelta or a text such as '1h30m', or None for no expiry"
    if value is None:
        return None
    if isinstance(value, str):
        value = _seconds_of(text(value, field, use=use, of_call=of_call), field, use, of_call=of_call)
    return seconds(value, field, use=use, of_call=of_call)


_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_SPELT = re.compile("".join(rf"(?:([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?) ?{unit} ?)?" for unit in _UNITS))


def _seconds_of(spelt: str, field: str, use: str, *, of_call: bool) -> float:
    found = _SPELT.fullmatch(spelt)
    numbers = [float(number or 0) for number in found.groups()] if found else []
    if not any(numbers):
        raise InvalidValueError(f"{field}{'' if of_call else f'={spelt!r}'} says no time; {use}")
    return sum(number * unit for number, unit in zip(numbers, _UNITS.values(), strict=True))


def threshold(value: object, field: str = "threshold") -> Threshold:
    """Return "exact", a profile's name or a cosine in [0, 1].

    Raises:
        InvalidTypeError: `value` is neither a str nor a number, or is a bool.
        InvalidValueError: it is an unknown word, or a number outside [0, 1].
    """
    return _word_or_cosine(value, field, ("exact", *PROFILES))  # type: ignore[no-any-return]  # one of those words


def profile_or_cosine(value: object, field: str) -> Profile | float:
    """Return a profile's name or a cosine in [0, 1]. Raises as `threshold`."""
    return _word_or_cosine(value, field, PROFILES)  # type: ignore[no-any-return]  # one of those words


def _word_or_cosine(value: object, field: str, words: Collection[str]) -> Any:
    allowed = f"{', '.join(map(repr, words))}, or a cosine between 0 and 1"
    if isinstance(value, str):
        if value not in words:
            raise InvalidValueError(f"{field}={value!r} is not known; use {allowed}")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(value, field, f"use {allowed}")
    if not 0.0 <= value <= 1.0:
        raise InvalidValueError(f"{field}={value!r} is outside [0, 1]; use {allowed}")
    return float(value)


def thresholds(values: object) -> tuple[float, ...]:
    """Return cosines in ascending order, each once.

    Raises:
        InvalidTypeError: `values` is not a sequence of numbers.
        InvalidValueError: it is empty, or holds a number outside [0, 1].
    """
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise _wrong_type(values, "thresholds", "use a list of cosines")
    for value in values:
        if isinstance(profile_or_cosine(value, "thresholds"), str):
            raise InvalidTypeError(f"thresholds holds {value!r}; use cosines between 0 and 1")
    if not values:
        raise InvalidValueError("thresholds is empty; use at least one cosine between 0 and 1")
    return tuple(sorted({float(value) for value in values}))


def pairs(value: object) -> Iterable[Any]:
    """Return an iterable of pairs.

    Raises:
        InvalidTypeError: `value` cannot be iterated over, or is a mapping: one pair is not a list of pairs.
    """
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise InvalidTypeError(f"pairs is {a_kind(value)}; use the path of a JSONL file, or a list of pairs")
    return value


def share(value: object, field: str, *, use: str = "use a share such as 0.01") -> float:
    """Return a number between 0 and 1, both excluded. Args as `text`.

    Raises:
        InvalidTypeError: `value` is not a number, or is a bool.
        InvalidValueError: it is outside (0, 1).
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(value, field, "use a number between 0 and 1")
    if not 0.0 < value < 1.0:
        raise InvalidValueError(f"{field}={value!r} is not between 0 and 1; {use}")
    return value


def share_or_all(value: object, field: str) -> float:
    """Return a number in [0, 1]. Args as `text`.

    Raises:
        InvalidTypeError: `value` is not a number, or is a bool.
        InvalidValueError: it is outside [0, 1].
    """
    whole = type(value) in (int, float) and value in (0, 1)
    return float(value if whole else share(value, field, use="use a share such as 0.02, 0 or 1"))  # type: ignore[arg-type]


def choice(value: Any, field: str, allowed: Collection[str]) -> Any:
    """Return one of the allowed words.

    Raises:
        InvalidValueError: `value` is not one of them.
    """
    if value not in allowed:
        raise InvalidValueError(f"{field}={value!r}; use one of {', '.join(map(repr, allowed))}")
    return value


def path(value: object, field: str, *, use: str = "use a str or a Path") -> Path:
    """Return a path.

    Raises:
        InvalidTypeError: `value` is neither a str nor a Path.
        InvalidValueError: it is blank.
    """
    if not isinstance(value, str | Path):
        raise _wrong_type(value, field, use)
    if not str(value).strip():
        raise InvalidValueError(f"{field}={value!r} is blank; {use}")
    return Path(value)


def optional_path(value: object, field: str) -> Path | None:
    """Return a path, or None. Raises as `path`."""
    return None if value is None else path(value, field, use="use a str, a Path or None")


def optional_callable(value: Any, field: str, *, use: str = "use a callable that returns a bool") -> Any:
    """Return a callable, or None.

    Raises:
        InvalidTypeError: `value` is something else.
    """
    if value is None or callable(value):
        return value
    raise _wrong_type(value, field, use)


def required_callable(value: Any, field: str, *, use: str) -> Any:
    """Return a callable.

    Raises:
        InvalidTypeError: `value` is something else.
    """
    if callable(value):
        return value
    raise _wrong_type(value, field, use)


def predicate(
    value: Any, field: str, *, use: str = "use a callable that returns a bool", else_: str = ", or verify= to await"
) -> Any:
    """Return a callable whose result is a verdict as it is, without being awaited.

    Args:
        value: what to check.
        field: its name in messages.
        use: what to do about a wrong one.
        else_: what else to do about an async one.

    Raises:
        InvalidTypeError: `value` cannot be called, or is an async function, a partial of one, or an object with one.
    """
    if not callable(value):
        raise _wrong_type(value, field, use)
    return sync_callable(value, field, use=use + else_)


def sync_callable(value: Any, field: str, *, use: str = "use one that is not") -> Any:
    """Return a callable that need not be awaited.

    Raises:
        InvalidTypeError: it is an async function, a partial of one, or an object with one.
    """
    if _is_async(value):
        raise InvalidTypeError(f"{field}={value!r} is async, and would never be awaited; {use}")
    return value


def _is_async(function: Any) -> bool:
    while isinstance(function, partial | partialmethod):
        function = function.func
    call = getattr(type(function), "__call__", None)  # noqa: B004  # its code is looked at; it is not called
    return any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in (function, call))


def encryption(encrypt: Any, decrypt: Any) -> tuple[Any, Any]:
    """Return two callables of bytes that undo each other, or None twice.

    Raises:
        InvalidTypeError: one is neither a callable nor None.
        InvalidValueError: only one is None.
    """
    if (encrypt is None) != (decrypt is None):
        raise InvalidValueError("encrypt and decrypt belong together; give both or neither")
    use = "use a callable of bytes that returns bytes"
    return optional_callable(encrypt, "encrypt", use=use), optional_callable(decrypt, "decrypt", use=use)


def key_prefix(value: object, field: str) -> str:
    """Return a str that keys on a server may start with, and that means nothing else to the server.

    Raises:
        InvalidTypeError: `value` is not a str.
        InvalidValueError: it is empty, or holds a space, a brace or a wildcard.
    """
    use = "use a non-empty str without spaces, braces and wildcards"
    prefix = text(value, field, use=use)
    if set(prefix) & set("{}*?[]^\\ \n"):
        raise InvalidValueError(f"{field}={value!r} holds a character that keys may not have; {use}")
    return prefix


def secret(value: object, field: str) -> bytes | None:
    """Return a secret of at least 16 bytes, or None. No message shows the value.

    Raises:
        InvalidTypeError: `value` is neither bytes nor a str.
        InvalidValueError: it is shorter than 16 bytes.
    """
    if value is None:
        return None
    if not isinstance(value, bytes | str):
        raise InvalidTypeError(f"{field} is {a_kind(value)}; use bytes, a str, or None")
    encoded = value.encode() if isinstance(value, str) else value
    if len(encoded) < MIN_SECRET_BYTES:
        raise InvalidValueError(
            f"{field} is shorter than {MIN_SECRET_BYTES} bytes; use 32 random ones: secrets.token_bytes(32)"
        )
    return encoded


def guards(value: object) -> tuple[Guard, ...]:
    """Return guards.

    Raises:
        InvalidTypeError: `value` is not a sequence of callables, or one of them is async.
    """
    if isinstance(value, Sequence) and not isinstance(value, str) and all(callable(guard) for guard in value):
        return tuple(predicate(guard, "guards") for guard in value)
    raise InvalidTypeError(f"guards={value!r}; use a sequence of callables (prompt, cached_prompt) -> bool")


def context(value: object) -> Any:
    """Return a mapping, a callable that may return one, or None.

    Raises:
        InvalidTypeError: `value` is something else, or async.
    """
    use = "use a mapping, or a callable of all arguments that returns one"
    if value is None or isinstance(value, Mapping):
        return value
    return sync_callable(required_callable(value, "context", use=use), "context", use=use)


def namespace(value: object) -> Namespace:
    """Return a namespace, or a callable that may return one, and is not async. Raises as `text`."""
    use = "use a non-empty str, or a callable of all arguments that returns one"
    return sync_callable(value, "namespace", use=use) if callable(value) else text(value, "namespace", use=use)


def response_type(value: object) -> object:
    """Return a class or a type expression; plain data is refused.

    Raises:
        InvalidTypeError: `value` is a text, a number, a mapping or a sequence.
    """
    if isinstance(value, str | bytes | int | float | Mapping | Sequence):
        raise _wrong_type(value, "response_type", "use a class or a type expression")
    return value


def response_types(value: object) -> tuple[object, ...] | None:
    """Return a collection of classes and type expressions as a tuple, or None.

    Raises:
        InvalidTypeError: `value` is no collection, or something in it is plain data.
    """
    if value is None:
        return None
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        raise _wrong_type(value, "response_types", "use a collection of classes, such as (Answer, Refusal)")
    return tuple(response_type(each) for each in value)


def caller_threads(value: object) -> int:
    """Return by how many threads an embedder may be called at once. Raises as `positive_int`."""
    return positive_int(value, "threads", use="an embedder says by how many threads it may be called at once")


def embedder(value: object) -> EmbedderLike:
    """Return an embedder: an object with ``model_id`` and ``embed``.

    Raises:
        InvalidTypeError: it has no callable ``embed``, or no ``model_id`` of type str.
    """
    wanted = "an embedder has model_id: str and embed(text) -> sequence of float"
    if isinstance(value, type) or not callable(getattr(value, "embed", None)):
        raise InvalidTypeError(f"embedder={value!r} has no embed method; {wanted}")
    # A property is not read: it may have to load the model to answer.
    is_property = isinstance(getattr(type(value), "model_id", None), property)
    if not is_property and not isinstance(getattr(value, "model_id", None), str):
        raise InvalidTypeError(f"embedder={value!r} has no model_id of type str; {wanted}")
    return value  # type: ignore[return-value]  # the protocol was checked by hand


def model_id(value: object) -> str:
    """Return a model's id.

    Raises:
        InvalidTypeError: `value` is not a str.
    """
    if not isinstance(value, str):
        raise _wrong_type(value, "model_id", "it must be a str")
    return value


def model_name(value: object) -> str:
    """Return the name of a model. Raises as `visible_text`."""
    return visible_text(value, "model_name", use="use a model's name, such as 'BAAI/bge-small-en-v1.5'")


def text_to_embed(value: object) -> str:
    """Return a text, which may be empty. The message does not quote it, as it is a prompt.

    Raises:
        InvalidTypeError: `value` is not a str.
    """
    if not isinstance(value, str):
        raise InvalidTypeError(f"the text to embed is {a_kind(value)}; pass a str")
    return value


def texts_to_embed(values: Sequence[str]) -> Sequence[str]:
    """Return texts.

    Raises:
        InvalidTypeError: `values` is one str, or holds something else than str.
    """
    if isinstance(values, str):
        raise InvalidTypeError("texts is one str; pass a sequence of str, or use embed()")
    for value in values:
        text_to_embed(value)
    return values


def _wrong_type(value: object, field: str, use: str, *, of_call: bool = False) -> InvalidTypeError:
    return InvalidTypeError(f"{field}{'' if of_call else f'={value!r}'} is {a_kind(value)}; {use}")
