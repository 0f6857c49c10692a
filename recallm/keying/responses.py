"""What a response says of itself: whether it is a stream, what it holds by name, and how many tokens it took."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from recallm.concurrency.signals import let_through
from recallm.errors import contained
from recallm.keying.objects import named_values

Held: TypeAlias = dict[str, Any]
"""What a dict or an object holds by name; read with `get` and `has`, as it may be a dict of a user's class."""

MAX_TOKENS = 10**9
"""The most tokens that a response is believed to have taken; no model reads and writes as many for one answer."""

FIRST_PARTS = slice(128)
"""How many choices, messages or parts of a response are looked at."""

PYDANTIC_OWN = frozenset({"__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"})
INPUT_TOKENS = ("input_tokens", "prompt_tokens", "prompt_token_count", "promptTokenCount")
OUTPUT_TOKENS = ("output_tokens", "completion_tokens", "candidates_token_count", "candidatesTokenCount")
TOOL_TOKENS = ("tool_use_prompt_token_count", "toolUsePromptTokenCount")
THOUGHT_TOKENS = ("thoughts_token_count", "thoughtsTokenCount")
TOTALS = ("total_tokens", "total_token_count", "totalTokenCount")
USAGES = ("usage", "usage_metadata", "usageMetadata", "token_usage")


class Usage(NamedTuple):
    """The tokens that a response took: all of them, those it was given, and those it gave. 0 is not known."""

    total: int = 0
    read: int = 0
    written: int = 0

    @classmethod
    def of(cls, read: int, written: int, total: int = 0) -> Usage:
        """Return a usage whose total is the sum unless the response has counted it."""
        return cls(total or read + written, read, written)


def is_stream(response: object) -> bool:
    """Return whether a response is consumed by reading it, so that keeping it would take it from the caller.

    One that raises when it is asked what it is may be such.
    """
    try:
        return contained(_is_consumed, response)
    except Exception as error:  # noqa: BLE001  # a proxy runs code of its own
        let_through(error)
        return True


def _is_consumed(response: object) -> bool:
    return isinstance(response, Iterator | AsyncIterator | Awaitable) or hasattr(type(response), "__aiter__")


def held(value: Any) -> Held:
    """Return by name what a dict, a pydantic model or another object holds; no code of its class runs.

    >>> from types import SimpleNamespace
    >>> held({"text": "a"}), held(SimpleNamespace(text="a")), held("a")
    ({'text': 'a'}, {'text': 'a'}, {})
    """
    if issubclass(type(value), dict):
        return value  # type: ignore[no-any-return]  # a dict, as its class says
    attributes = named_values(value)
    if "__pydantic_fields_set__" not in attributes:
        return attributes
    extra = attributes.get("__pydantic_extra__") or {}
    return {**extra, **{name: item for name, item in attributes.items() if name not in PYDANTIC_OWN}}


def get(names: Held, name: str) -> Any:
    """Return what is held under a name, or None."""
    return dict.get(names, name)


def has(names: Held, *wanted: str) -> bool:
    """Claim that something, be it None, is held under each of these names."""
    return all(dict.__contains__(names, name) for name in wanted)


def elements(value: Any, where: slice = FIRST_PARTS) -> Sequence[Any]:
    """Return some elements of a list or tuple, by default the first ones; there are none in anything else."""
    kind: Any = next((each for each in (list, tuple) if issubclass(type(value), each)), None)
    return () if kind is None else kind.__getitem__(value, where)


def total_tokens(response: object) -> int:
    """Return the tokens, in and out, that a response says it took; see `used_tokens`."""
    return used_tokens(response).total


def used_tokens(response: object) -> Usage:
    """Return the tokens that a response says it took, in the shape of any vendor; what it does not say is 0.

    Known are the responses of OpenAI, Anthropic, Gemini, Ollama, LiteLLM, LangChain, Pydantic AI and Instructor, as
    objects and as dicts.
    """
    try:
        used = contained(lambda: _used(held(response)))
    except Exception as error:  # noqa: BLE001  # what cannot be read reports no tokens
        let_through(error)
        return Usage()
    return used if used.total <= MAX_TOKENS else Usage()


def _used(names: Held) -> Usage:
    # Instructor leaves the vendor's response with its result, Pydantic AI the state of the run.
    inner = (held(get(names, name)) for name in ("_raw_response", "_state"))
    return _first(chain((find(names) for find in (_usage, _of_generations)), map(_usage, inner)))


def _first(found: Iterable[Usage]) -> Usage:
    return next((each for each in found if each.total), Usage())


def _usage(names: Held) -> Usage:
    """Return the tokens that a response, or what LangChain notes about one, says it took."""
    found = _first(_counted(held(get(names, name))) for name in USAGES)
    return found if found.total else Usage.of(_count(names, "prompt_eval_count"), _count(names, "eval_count"))


def _counted(usage: Held) -> Usage:
    # Anthropic counts what it read from its cache, and wrote into it, beside the other input; Gemini what tools and
    # its own thoughts took beside the rest.
    cached = _count(usage, "cache_creation_input_tokens") + _count(usage, "cache_read_input_tokens")
    read = _count(usage, *INPUT_TOKENS) + _count(usage, *TOOL_TOKENS)
    written = _count(usage, *OUTPUT_TOKENS) + _count(usage, *THOUGHT_TOKENS)
    total = _count(usage, *TOTALS)
    if 0 < total < read + cached + written:  # LiteLLM counts it among the other input, as its total tells
        cached = 0
    return Usage.of(read + cached, written, total)


def _of_generations(names: Held) -> Usage:
    """Return the tokens that a result of LangChain's took, or a message that only notes them in its metadata."""
    noted = _first(_usage(held(get(names, name))) for name in ("llm_output", "response_metadata"))
    if noted.total:
        return noted
    each = [_usage(held(get(held(one), "message"))) for one in generations(names)]
    return Usage(*map(sum, zip(*each, strict=True))) if each else noted


def generations(names: Held) -> tuple[Any, ...]:
    """Return the generations of a LangChain result, which has a list of them, or one for each prompt."""
    found = elements(get(names, "generations"))
    return tuple(each for group in found for each in (elements(group) if issubclass(type(group), list) else (group,)))


def _count(names: Held, *spellings: str) -> int:
    """Return the first count, under any of its names, that can be one, or 0."""
    counts = (get(names, name) for name in spellings)
    return next((count for count in counts if type(count) is int and 0 < count <= MAX_TOKENS), 0)
