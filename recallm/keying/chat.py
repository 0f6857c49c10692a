"""Chat messages: the last user message's text is the prompt, all the rest must be equal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from recallm.keying.canonical import PROMPT_PLACEHOLDER, type_path


def is_chat(value: object) -> bool:
    """Return whether `value` is a sequence of messages, each with a role."""
    return isinstance(value, list | tuple) and bool(value) and all(_role(message) is not None for message in value)


def split_chat(messages: Sequence[Any]) -> tuple[str, list[object]] | None:
    """Return the last user message's text and the conversation without it, or None where there is no such text.

    Args:
        messages: mappings or objects with ``role`` and ``content``; content is a str, or a list of parts
            of which those of text are the prompt and the others (images …) belong to the rest.

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
    """Return `value` with `PROMPT_PLACEHOLDER` in the place of strings that are `text`, each noted in `found`.

    White space around a string does not count. Mappings, sequences, dataclasses and pydantic models are
    looked into.
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
    if is_dataclass(value) or _is_pydantic(value):
        return (with_placeholder(dict(_state(value)), text, found),)
    return value


def _role(message: object) -> object:
    return message.get("role") if isinstance(message, Mapping) else getattr(message, "role", None)


def _split_content(content: object) -> tuple[str | None, object]:
    """Return the text in a message's content, and the content with a hole for each text."""
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
    """Return all that a message or part consists of, its type included where it is an object."""
    if isinstance(value, Mapping):
        return value
    state: dict[str, Any] = {"": type_path(type(value))}
    if is_dataclass(value):
        state |= {field.name: getattr(value, field.name) for field in fields(value)} | getattr(value, "__dict__", {})
    elif _is_pydantic(value):
        private = {"": (state[""], value.__pydantic_private__)} if value.__pydantic_private__ else {}
        state |= {**value.__dict__, **(value.__pydantic_extra__ or {}), **private}
    else:
        state |= _attributes(value)
    return state


def _attributes(value: object) -> Mapping[str, Any]:
    """Return what a plain object holds; where nothing can be read of it, the object, which has no canonical form."""
    match object.__getstate__(value):
        case dict() as attributes:
            return attributes
        case (None | dict() as attributes, dict() as slots):
            return {**(attributes or {}), **slots}
        case _:
            return {"role": _role(value), "content": getattr(value, "content", None), "unreadable": value}


def _readable(message: object) -> object:
    plain = not isinstance(message, Mapping) and not is_dataclass(message) and not _is_pydantic(message)
    return _state(message) if plain else message


def _is_pydantic(value: object) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(value, pydantic.BaseModel)
