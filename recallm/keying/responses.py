"""What a response says of itself: whether it is a stream, what it holds by name, and how many tokens it took."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import Any, TypeAlias

from recallm.keying.objects import named_values

Held: TypeAlias = dict[str, Any]
"""What a dict or an object holds by name; read with `get` and `has`, as it may be a dict of a user's class."""

MAX_TOKENS = 10**9
"""The most tokens that a response is believed to have taken; no model reads and writes as many for one answer."""

FIRST_PARTS = slice(128)
"""How many choices, messages or parts of a response are looked at."""

PYDANTIC_OWN = frozenset({"__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"})
INPUT_TOKENS = ("input_tokens", "prompt_tokens")
OUTPUT_TOKENS = ("output_tokens", "completion_tokens")
TOTALS = ("total_tokens", "total_token_count", "totalTokenCount")
USAGES = ("usage", "usage_metadata", "usageMetadata", "token_usage")


def is_stream(response: object) -> bool:
    """Return whether a response is consumed by reading it, so that keeping it would take it from the caller."""
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
    """Return the tokens, in and out, that a response says it took, in the shape of any vendor, or 0.

    Known are the responses of OpenAI, Anthropic, Gemini, Ollama, LiteLLM, LangChain, Pydantic AI and Instructor, as
    objects and as dicts.
    """
    try:
        tokens = _tokens(held(response))
    except Exception:  # noqa: BLE001  # what cannot be read reports no tokens
        return 0
    return tokens if tokens <= MAX_TOKENS else 0


def _tokens(names: Held) -> int:
    # Instructor leaves the vendor's response with its result, Pydantic AI the state of the run.
    inner = (held(get(names, name)) for name in ("_raw_response", "_state"))
    return _usage(names) or _of_generations(names) or next(filter(None, map(_usage, inner)), 0)


def _usage(names: Held) -> int:
    """Return the tokens that a response, or what LangChain notes about one, says it took."""
    for name in USAGES:
        counted = _sum(held(get(names, name)))
        if counted:
            return counted
    return _count(names, "prompt_eval_count") + _count(names, "eval_count")


def _sum(usage: Held) -> int:
    total = _count(usage, *TOTALS)
    if total:
        return total
    # Anthropic counts what it read from its cache, and wrote into it, beside the other input.
    cached = _count(usage, "cache_creation_input_tokens") + _count(usage, "cache_read_input_tokens")
    return _count(usage, *INPUT_TOKENS) + cached + _count(usage, *OUTPUT_TOKENS)


def _of_generations(names: Held) -> int:
    """Return the tokens that a result of LangChain's took, or a message that only notes them in its metadata."""
    noted = _usage(held(get(names, "llm_output"))) or _usage(held(get(names, "response_metadata")))
    return noted or sum(_usage(held(get(held(each), "message"))) for each in generations(names))


def generations(names: Held) -> tuple[Any, ...]:
    """Return the generations of a LangChain result, which has a list of them, or one for each prompt."""
    found = elements(get(names, "generations"))
    return tuple(each for group in found for each in (elements(group) if issubclass(type(group), list) else (group,)))


def _count(names: Held, *spellings: str) -> int:
    """Return the first count, under any of its names, that can be one, or 0."""
    counts = (get(names, name) for name in spellings)
    return next((count for count in counts if type(count) is int and 0 < count <= MAX_TOKENS), 0)
