"""Whether a response is a whole answer, as far as the known shapes of language models' responses tell."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from recallm.concurrency.signals import let_through
from recallm.errors import contained
from recallm.keying.responses import Held, elements, generations, get, has, held
from recallm.keying.shapes import SHAPES, is_blank, is_given, shows, word

CONTAINERS = frozenset({list, dict, tuple, set, frozenset, bytes, bytearray})
"""The types of which an empty value is no answer; one of a user's subclass may be."""

ERROR_BODY = frozenset((
    "error", "type", "object", "id", "created", "model", "choices", "usage", "status", "status_code", "code",
    "request_id", "user_id", "provider", "service_tier", "system_fingerprint",
))  # fmt: skip
"""What a body may hold that only tells of an error."""


def is_complete(response: object) -> bool:
    """Return whether a response is a whole answer. This is the default of ``store_if``.

    None, blank text and empty containers are none, and neither is what is known for a response that was cut off,
    refused, filtered, or failed: of OpenAI (chat completions and Responses), Anthropic, Gemini, Ollama, LiteLLM,
    LangChain, Pydantic AI and Instructor, as the objects of their SDKs and as dicts. All else is complete: numbers,
    False, objects of your own. No code of the response's class runs, and nothing raises.

    Args:
        response: what the function returned.

    >>> is_complete("Within 30 days."), is_complete(" "), is_complete(0)
    (True, False, True)
    >>> is_complete({"object": "chat.completion", "choices": [{"finish_reason": "length"}]})
    False
    """
    if type(response) is str:  # It holds no other response, and is asked about at every hit.
        return not is_blank(response)
    if not _is_whole(response):
        return False
    try:
        return contained(lambda: all(map(_is_whole, _inner_responses(held(response)))))
    except Exception as error:  # noqa: BLE001  # what cannot be read is of no known shape
        let_through(error)
        return True


def _is_whole(response: Any) -> bool:
    """Claim that a response is not empty and that no shape tells that it is not whole, without going further in."""
    kind = type(response)
    if response is None or (kind in CONTAINERS and not response):
        return False
    if issubclass(kind, str):
        return issubclass(kind, Enum) or not is_blank(response)
    try:
        names = contained(held, response)
    except Exception as error:  # noqa: BLE001  # likewise
        let_through(error)
        return True
    for shape in SHAPES:
        try:
            if contained(shape.fits, names) and not contained(shape.is_whole, names):
                return False
        except Exception as error:  # noqa: BLE001  # what cannot be read tells nothing; the other shapes do
            let_through(error)
            continue
    return kind is not dict or not _is_error_body(names)


def _is_error_body(names: Held) -> bool:
    """Claim that a dict holds nothing but an error, as the services of OpenAI, Gemini and Ollama write it."""
    error = get(names, "error")
    if len(names) == 1:
        return shows(error if issubclass(type(error), str) else get(held(error), "message"))
    described = held(error)
    return (
        len(names) <= len(ERROR_BODY)
        and names.keys() <= ERROR_BODY
        and shows(get(described, "message"))
        and (has(described, "code") or has(described, "type") or has(described, "status"))
        and not is_given(get(names, "choices"))
    )


def _inner_responses(names: Held) -> Iterator[object]:
    """Yield the responses of a model, and their outcome, that the object of a framework holds."""
    if get(names, "_raw_response") is not None:  # Instructor's results
        yield get(names, "_raw_response")
    if has(names, "output", "_state"):  # a run of Pydantic AI
        state = held(get(names, "_state"))
        if has(state, "message_history"):
            yield get(names, "output")
            yield from _last_response(get(state, "message_history"))
    if has(names, "generations", "llm_output"):  # LangChain's results
        yield from (get(held(each), "message") for each in generations(names) if has(held(each), "message"))


def _last_response(messages: object) -> list[object]:
    """Return the last response among the messages of a run; a request with the results of its tools may follow it."""
    last = elements(messages, slice(-2, None))
    return [each for each in last if word(get(held(each), "kind")) == "response"][-1:]
