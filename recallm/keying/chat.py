"""Where the prompt is: the text of the last user message, or the text itself; everything else must be equal.

The texts of the turns before it can be taken out too, for calls whose history may be similar.

Messages are understood as people and libraries write them: dicts and objects, ``(role, text)`` pairs, the parts of
Gemini and pydantic-ai, the messages and prompt values of LangChain, the input items of OpenAI's Responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias
from unicodedata import normalize

from recallm.concurrency.signals import let_through
from recallm.keying.objects import RAW_ITEMS, named_values
from recallm.keying.signature import USUAL_NAMES
from recallm.keying.stand_ins import PROMPT_PLACEHOLDER, PromptPlaceholder, Replaced
from recallm.records import Turn

_USERS = frozenset({"user", "human"})
_ASSISTANTS = frozenset({"assistant", "ai", "model"})
_ROLES = _USERS | _ASSISTANTS | {"system", "developer", "tool", "function", "placeholder"}
_TEXT_TYPES = (None, "text", "input_text")
_WRITTEN_TYPES = (*_TEXT_TYPES, "output_text")
_Role: TypeAlias = Literal["user", "assistant"]
_MAX_VISITED = 10_000
"""How many values are searched for the text that a user's callable made of the arguments."""


class Taken(NamedTuple):
    """A prompt, and what is left where it was.

    Attributes:
        text: the prompt, in Unicode's composed form.
        rest: stands for the value that held it.
        history: the texts of the turns before it that were taken out, too.
    """

    text: str
    rest: object
    history: tuple[Turn, ...] = ()


def take_prompt(value: object, *, with_history: bool = False) -> Taken | None:
    """Take the prompt out of the argument that carries it.

    Args:
        value: a text, a message, a sequence of messages or of parts, or a mapping with one of the usual names.
        with_history: whether to take out the texts of users and assistants in the messages before it as well.

    Returns:
        The prompt and the rest, or None if there is no text of a user's.

    >>> take_prompt([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]).text
    'Hi'
    """
    if isinstance(value, str):
        return Taken(composed(value), _hole(value))
    if issubclass(type(value), (list, tuple)):
        return _take_from_sequence(value, with_history=with_history)  # type: ignore[arg-type]  # it is one
    held = members(value)
    if _is_users(value):
        return _take_from_message(value)
    for name in ("messages", "text") if _role(value) is None else ():
        if name in held and not isinstance(value, dict):
            return _inside(value, name, take_prompt(held[name], with_history=with_history))
    if isinstance(value, dict) and _role(value) is None:
        return _take_by_name(value, with_history=with_history)
    return None


def composed(text: str) -> str:
    """Return a text as a plain str in Unicode's composed form, in which equal texts are equal."""
    plain = str.__str__(text)
    return plain if plain.isascii() else normalize("NFC", plain)


def replace_text(value: object, text: str, found: list[object], seen: dict[int, object] | None = None) -> object:
    """Return `value` with a placeholder for every string that is `text`; it is `value` itself if there is none.

    White space around a string does not count.

    Args:
        value: anything; mappings, sequences and objects are looked into.
        text: the prompt.
        found: gets one item for each string that was replaced.
        seen: what has been looked into, by its id.
    """
    if isinstance(value, str):
        if composed(value).strip() != text.strip():
            return value
        found.append(value)
        return _hole(value)
    seen = {} if seen is None else seen
    if id(value) in seen or len(seen) > _MAX_VISITED:
        return value
    seen[id(value)] = value
    changes = {}
    for key, item in members(value).items():
        replaced = replace_text(item, text, found, seen)
        if replaced is not item:
            changes[key] = replaced
    return _replaced(value, changes) if changes else value


def members(value: object) -> dict[Any, Any]:
    """Return what a mapping, sequence or object holds, by key, index or name."""
    if type(value) is dict:
        return value
    if isinstance(value, dict):
        return dict(dict.items(value))
    if type(value) is MappingProxyType:
        return dict(value)
    if issubclass(type(value), (list, tuple)):
        return dict(enumerate(value))  # type: ignore[arg-type]  # it is a sequence
    try:
        held = named_values(value)
    except Exception as error:  # noqa: BLE001  # an object that cannot be read holds no prompt
        let_through(error)
        return {}
    if not held.get(_EXTRA):
        return held
    return {**{name: item for name, item in held.items() if name != _EXTRA}, **held[_EXTRA]}


_EXTRA = "__pydantic_extra__"
"""Where a pydantic model keeps the fields that it does not declare."""


def _replaced(value: object, changes: dict[Any, Any]) -> Replaced:
    """Return a stand-in for a value in which others stand for some of its `members`."""
    extra = {} if isinstance(value, str | dict | list | tuple) else named_values(value).get(_EXTRA) or {}
    undeclared = {name: change for name, change in changes.items() if name in extra}
    if not undeclared:
        return Replaced(value, changes)
    declared = {name: change for name, change in changes.items() if name not in extra}
    return Replaced(value, {**declared, _EXTRA: Replaced(extra, undeclared)})


def _hole(text: str, lines: int = 0) -> object:
    placeholder = PromptPlaceholder(lines) if lines else PROMPT_PLACEHOLDER
    return placeholder if type(text) is str else Replaced(text, {None: placeholder})


def _inside(value: object, name: object, taken: Taken | None) -> Taken | None:
    return None if taken is None else Taken(taken.text, _replaced(value, {name: taken.rest}), taken.history)


def _take_by_name(value: dict[Any, Any], *, with_history: bool) -> Taken | None:
    held = members(value)
    known = ["messages"] if "messages" in held else [name for name in held if name in USUAL_NAMES]
    if len(known) != 1:
        return None
    return _inside(value, known[0], take_prompt(held[known[0]], with_history=with_history))


def _take_from_sequence(value: Sequence[Any], *, with_history: bool) -> Taken | None:
    items = [*RAW_ITEMS[list if isinstance(value, list) else tuple](value)]
    if is_pair(value):
        return _take_from_message(value) if _is_users(value) else None
    if any(map(is_message, items)):
        for at in range(len(items) - 1, -1, -1):
            taken = _take_from_users(items[at])
            if taken is not None:
                return _with_history(value, items[:at], taken) if with_history else _inside(value, at, taken)
        return None
    return _take_from_content(value)


def is_message(item: Any) -> bool:
    """Return whether an item of a sequence says whose it is, so that the sequence holds messages, not parts of one."""
    return _role(item) is not None or _is_of_gemini(item) or _exchange_parts(item, "request") is not None


def _with_history(messages: Sequence[Any], earlier: Sequence[Any], prompt: Taken) -> Taken:
    """Return the prompt taken out of the message after these earlier ones, and the texts of their turns."""
    changes: dict[Any, Any] = {len(earlier): prompt.rest}
    history: list[Turn] = []
    for at, message in enumerate(earlier):
        role: _Role = "user"
        taken = _take_from_users(message)
        if taken is None:
            role, taken = "assistant", _take_from_assistants(message)
        if taken is not None:
            changes[at] = taken.rest
            history.append(Turn(role, taken.text))
    return Taken(prompt.text, _replaced(messages, changes), tuple(history))


def _take_from_users(item: Any) -> Taken | None:
    if isinstance(item, str):
        return Taken(composed(item), _hole(item))
    return _take_from_message(item) if _is_users(item) else _take_from_exchange(item, "request", "user-prompt")


def _take_from_assistants(item: Any) -> Taken | None:
    if _role(item) in _ASSISTANTS:
        return _take_from_message(item, _WRITTEN_TYPES)
    return _take_from_exchange(item, "response", "text")


def _take_from_message(message: Any, types: Sequence[str | None] = _TEXT_TYPES) -> Taken | None:
    if is_pair(message):
        return _inside(message, 1, _take_from_content(message[1], types))
    held = members(message)
    for name in ("content", "parts", "text"):
        if held.get(name) is not None:
            return _inside(message, name, _take_from_content(held[name], types))
    return None


def _take_from_exchange(item: Any, kind: str, part_kind: str) -> Taken | None:
    """Take the last text of one kind out of a request or response of pydantic-ai, whose parts have the roles."""
    parts = _exchange_parts(item, kind)
    for at in range(len(parts or ()) - 1, -1, -1):
        held = members(parts[at])  # type: ignore[index]  # there are some
        if held.get("part_kind") == part_kind:
            taken = _inside(parts[at], "content", _take_from_content(held.get("content")))  # type: ignore[index]
            return _inside(item, "parts", _inside(parts, at, taken))
    return None


def _exchange_parts(item: Any, kind: str) -> Sequence[Any] | None:
    held = members(item) if not isinstance(item, str | dict) else {}
    parts = held.get("parts")
    return parts if held.get("kind") == kind and isinstance(parts, list | tuple) else None


def _take_from_content(content: object, types: Sequence[str | None] = _TEXT_TYPES) -> Taken | None:
    """Take the text out of the content of a message: a str, a part, or several of which some may be texts."""
    if isinstance(content, str):
        return Taken(composed(content), _hole(content))
    if not issubclass(type(content), (list, tuple)):
        text = _part_text(content, types)
        return None if text is None else _inside(content, "text", Taken(composed(text), _hole(text)))
    texts = {at: text for at, part in members(content).items() if (text := _part_text(part, types)) is not None}
    if not texts:
        return None
    changes = {}
    last = max(texts)
    for at, text in texts.items():
        # Where one part ends and the next begins is told by its number of lines, as the prompt has one for each.
        hole = _hole(text, 0 if at == last else text.count("\n") + 1)
        part = members(content)[at]
        changes[at] = hole if isinstance(part, str) else _replaced(part, {"text": hole})
    return Taken("\n".join(map(composed, texts.values())), Replaced(content, changes))


def _part_text(part: object, types: Sequence[str | None]) -> str | None:
    if isinstance(part, str):
        return part
    held = members(part)
    text = held.get("text")
    return text if isinstance(text, str) and held.get("type") in types else None


def is_pair(message: object) -> bool:
    """Return whether a message is a ``(role, content)`` pair."""
    if not isinstance(message, list | tuple) or len(message) != 2:
        return False
    role, content = message
    return isinstance(role, str) and isinstance(content, str | list) and role.lower() in _ROLES


def _is_users(message: object) -> bool:
    role = _role(message)
    return role in _USERS or (role is None and _is_of_gemini(message))


def _is_of_gemini(message: object) -> bool:
    """Return whether a message has parts and no role, as those of users may in Gemini's contents."""
    held = members(message) if not isinstance(message, str | list | tuple) else {}
    return isinstance(held.get("parts"), list) and held.get("kind") is None


def _role(message: object) -> str | None:
    """Return the role of a message in lower case, or None if it has none."""
    if type(message) is dict:
        role: object = message.get("role")
        if role is None and "content" in message:
            role = message.get("type")
    elif is_pair(message):
        role = message[0]  # type: ignore[index]  # a pair
    elif isinstance(message, str) or issubclass(type(message), (list, tuple)):
        return None
    else:
        held = members(message)
        role = held.get("role", getattr(type(message), "role", None) if not isinstance(message, dict) else None)
        if role is None and "content" in held:
            role = held.get("type")
    if isinstance(role, Enum):
        role = role.value
    return role.lower() if isinstance(role, str) else None
