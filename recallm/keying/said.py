"""What a response says: its texts and the tools that it calls, in any of the known shapes; all else is about it.

Two responses to one prompt differ in their ids, times and token counts, whatever they say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

from recallm.keying.responses import Held, elements, generations, get, has, held
from recallm.keying.shapes import (
    BESIDE_GEMINI_PARTS,
    TEXTS,
    THOUGHTS,
    is_anthropic_message,
    is_chat_completion,
    is_gemini_response,
    is_given,
    is_langchain_message,
    is_langchain_result,
    is_ollama_answer,
    is_openai_response,
    is_pydantic_ai_response,
    word,
)

Part: TypeAlias = "str | Call"


class Call(NamedTuple):
    """A tool that a response calls and with what, or what it shows beside texts; arguments in JSON are decoded."""

    name: object
    arguments: object


class Said(NamedTuple):
    """What a response says.

    Attributes:
        text: all of its texts, in their order, a line for each.
        calls: the tools that it calls, in their order.
    """

    text: str
    calls: tuple[Call, ...]


def said(response: object) -> Said | None:
    """Return what a text, or a response in a known shape, says; None if it is neither. No code of its class runs.

    What a model thought before it answered is no part of the answer.

    >>> said({"object": "chat.completion", "choices": [{"message": {"content": "Hi."}}]})
    Said(text='Hi.', calls=())
    """
    if issubclass(type(response), str):
        return Said(str.__str__(response), ())
    names = held(response)
    for fits, parts_of in _READERS:
        if fits(names):
            return _gathered(parts_of(names))
    return said(get(names, "output")) if has(names, "output", "_state") else None


def _gathered(parts: Iterator[Part]) -> Said:
    found = list(parts)
    texts = [part for part in found if isinstance(part, str)]
    return Said("\n".join(texts), tuple(part for part in found if isinstance(part, Call)))


def _of_chat_completion(names: Held) -> Iterator[Part]:
    for choice in map(held, elements(get(names, "choices"))):
        if has(choice, "message"):
            yield from _of_message(held(get(choice, "message")))
        else:
            yield from _of_content(get(choice, "text"))


def _of_message(message: Held) -> Iterator[Part]:
    """Yield the parts of a message whose calls stand beside its content."""
    yield from _of_content(get(message, "content"))
    yield from map(_call, elements(get(message, "tool_calls")))
    if is_given(get(message, "function_call")):
        yield _call(get(message, "function_call"))
    for name in ("audio", "images"):
        if is_given(get(message, name)):
            shown = get(message, name)
            yield Call(name, _first(held(shown), "transcript", "data") or shown)


def _of_openai_response(names: Held) -> Iterator[Part]:
    for item in elements(get(names, "output")):
        described = held(item)
        kind = word(get(described, "type"))
        if kind == "message":
            yield from _of_content(get(described, "content"))
        elif kind not in THOUGHTS:
            yield _call(item)


def _of_gemini_response(names: Held) -> Iterator[Part]:
    for candidate in map(held, elements(get(names, "candidates"))):
        for part in elements(get(held(get(candidate, "content")), "parts")):
            described = held(part)
            if is_given(get(described, "thought")):
                continue
            yield from _of_content(get(described, "text"))
            for name in sorted(dict.keys(described) - BESIDE_GEMINI_PARTS):
                shown = get(described, name)
                if shown is not None:
                    yield _call(shown) if has(held(shown), "name") else Call(name, shown)


def _of_ollama_answer(names: Held) -> Iterator[Part]:
    yield from (
        _of_message(held(get(names, "message"))) if has(names, "message") else _of_content(get(names, "response"))
    )


def _of_langchain_result(names: Held) -> Iterator[Part]:
    for each in map(held, generations(names)):
        if is_given(get(each, "message")):
            yield from _of_message(held(get(each, "message")))
        else:
            yield from _of_content(get(each, "text"))


def _of_content(content: object) -> Iterator[Part]:
    """Yield the parts of a content, which is a text or a list of texts, calls and thoughts."""
    if issubclass(type(content), str):
        yield str.__str__(content)
    for part in elements(content):
        if issubclass(type(part), str):
            yield str.__str__(part)
            continue
        names = held(part)
        kind = word(get(names, "part_kind" if has(names, "part_kind") else "type"))
        if kind in TEXTS:
            yield from _of_content(get(names, "content" if has(names, "part_kind") else "text"))
        elif kind not in THOUGHTS:
            yield _call(part)


def _call(part: object) -> Call:
    names = held(part)
    inner = held(get(names, "function")) or names
    if not has(inner, "name") and not has(inner, "tool_name"):
        return Call(get(inner, "type"), {name: item for name, item in inner.items() if name != "id"})
    return Call(_first(inner, "name", "tool_name"), _decoded(_first(inner, "arguments", "input", "args")))


def _first(names: Held, *spellings: str) -> Any:
    return next((value for name in spellings if (value := get(names, name)) is not None), None)


def _decoded(arguments: Any) -> Any:
    if type(arguments) is not str:
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


_READERS: tuple[tuple[Callable[[Held], bool], Callable[[Held], Iterator[Part]]], ...] = (
    (is_chat_completion, _of_chat_completion),
    (is_openai_response, _of_openai_response),
    (is_anthropic_message, lambda names: _of_content(get(names, "content"))),
    (is_gemini_response, _of_gemini_response),
    (is_ollama_answer, _of_ollama_answer),
    (is_langchain_message, _of_message),
    (is_langchain_result, _of_langchain_result),
    (is_pydantic_ai_response, lambda names: _of_content(get(names, "parts"))),
)
"""What tells each shape, and what reads it."""
