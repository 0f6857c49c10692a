"""Chat messages: the text of the last user message is the prompt, everything else must be equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, TypeGuard

from recallm.keying.canonical import PROMPT_PLACEHOLDER, type_path
from recallm.keying.objects import (
    dataclass_values,
    has_declared_fields,
    is_pydantic_model,
    model_values,
    named_values,
)


def is_chat(value: object) -> TypeGuard[Sequence[Any]]:
    """Return whether `value` is a sequence of messages, each with a role."""
    return isinstance(value, list | tuple) and bool(value) and all(_role(message) is not None for message in value)


def split_chat(messages: Sequence[Any]) -> tuple[str, list[object]] | None:
    """Return the text of the last user message and the conversation without it, or None if there is no such text.

    Args:
        messages: mappings or objects with ``role`` and ``content``. The content is a str, or a list of parts:
            those of text are the prompt, the others (images …) belong to the rest.

    >>> split_chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])[0]
    'Hi'
    """
    place = next((at for at in range(len(messages) - 1, -1, -1) if _role(messages[at]) == "user"), None)
    if place is None:
        return None
    state = _state(messages[place])
    text, content = _split_content(state.get("content"))
    if text is None:
        return None
    rest: list[object] = [*messages[:place], {**state, "content": content}, *messages[place + 1 :]]
    return text, [message if at == place else _readable(message) for at, message in enumerate(rest)]


def with_placeholder(value: object, text: str, found: list[object]) -> object:
    """Return `value` with `PROMPT_PLACEHOLDER` in place of every string that is `text`.

    White space around a string does not count.

    Args:
        value: anything; dicts, lists, tuples, dataclasses and pydantic models are looked into.
        text: the prompt.
        found: gets one item for each string that was replaced.
    """
    if isinstance(value, str):
        if value.strip() != text.strip():
            return value
        found.append(PROMPT_PLACEHOLDER)
        return PROMPT_PLACEHOLDER
    if type(value) is dict:
        return {key: with_placeholder(item, text, found) for key, item in value.items()}
    if type(value) in (list, tuple):
        return (type_path(type(value)), [with_placeholder(item, text, found) for item in value])  # type: ignore[attr-defined]
    if has_declared_fields(value):
        return (with_placeholder(dict(_state(value)), text, found),)
    return value


def _role(message: object) -> object:
    return message.get("role") if isinstance(message, Mapping) else getattr(message, "role", None)


def _split_content(content: object) -> tuple[str | None, object]:
    """Return the text in a message's content, or None, and the content with a placeholder for each text."""
    if isinstance(content, str):
        return content, PROMPT_PLACEHOLDER
    if not isinstance(content, list | tuple):
        return None, content
    texts: list[str] = []
    parts: list[object] = []
    for part in content:
        state = {"text": part} if isinstance(part, str) else _state(part)
        if state.get("type", "text") in ("text", "input_text") and isinstance(state.get("text"), str):
            texts.append(state["text"])
            parts.append(PROMPT_PLACEHOLDER if isinstance(part, str) else {**state, "text": PROMPT_PLACEHOLDER})
        else:
            parts.append(part)
    return ("\n".join(texts) if texts else None), parts


def _state(value: Any) -> Mapping[str, Any]:
    """Return by name what a message or part holds; an object's type is under the empty name."""
    if isinstance(value, Mapping):
        return value
    kind = type_path(type(value))
    if is_dataclass(value):
        return {"": kind, **dataclass_values(value)}
    if is_pydantic_model(value):
        fields, extra, private = model_values(value)
        return {"": kind, **fields, **(extra or {}), **({"": (kind, private)} if private else {})}
    return {"": kind, **(named_values(value) or _unreadable(value))}


def _unreadable(value: Any) -> Mapping[str, Any]:
    # The object itself has no canonical form, which keeps the call out of the cache.
    return {"role": _role(value), "content": getattr(value, "content", None), "unreadable": value}


def _readable(message: object) -> object:
    """Return a message as a value that may have a canonical form, which a plain object has not."""
    return message if isinstance(message, Mapping) or has_declared_fields(message) else _state(message)
