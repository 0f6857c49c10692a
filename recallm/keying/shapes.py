"""The known shapes of language models' responses: what tells each from a user's own object, and when one is whole.

To add a vendor, write a pair of functions and add it to `SHAPES`; a word for a cut-off answer goes into `CUT_SHORT`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from recallm.keying.responses import Held, elements, generations, get, has, held

CUT_SHORT = frozenset((
    # OpenAI, LiteLLM, Pydantic AI; Mistral; DeepSeek; Ollama
    "length", "content_filter", "error", "model_length", "insufficient_system_resource", "load", "unload",
    # Anthropic; Cohere and Bedrock, as LangChain notes them
    "max_tokens", "refusal", "pause_turn", "model_context_window_exceeded", "error_toxic", "error_limit",
    "content_filtered", "guardrail_intervened",
    # Gemini, which has "MAX_TOKENS", too
    "safety", "recitation", "language", "other", "blocklist", "prohibited_content", "spii", "malformed_function_call",
    "malformed_response", "unexpected_tool_call", "too_many_tool_calls", "missing_thought_signature", "escalation",
    "pup_limited_disabled", "continuation", "model_armor", "no_image", "image_safety", "image_prohibited_content",
    "image_recitation", "image_other",
))  # fmt: skip
"""Why a model stopped before its answer was whole, in lower case."""

GEMINI_ENDINGS = CUT_SHORT | {"stop", "finish_reason_unspecified"}

UNFINISHED = frozenset({"incomplete", "failed", "cancelled", "in_progress", "queued"})
"""The statuses of OpenAI's Responses, but for "completed"."""

THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})
"""The types of parts that are no part of the answer."""

TEXTS = frozenset({"text", "output_text", ""})
"""The types of parts that hold text, if they have a type."""

BESIDE_GEMINI_PARTS = frozenset(
    ("text", "thought", "thought_signature", "thoughtSignature", "video_metadata", "videoMetadata", "part_metadata")
)
"""What a part of Gemini's holds besides something to show."""

MAX_WORD = 64


class Shape(NamedTuple):
    """The responses of one interface.

    Attributes:
        fits: whether what a response holds is of this shape.
        is_whole: whether a response of this shape is a whole answer.
    """

    fits: Callable[[Held], bool]
    is_whole: Callable[[Held], bool]


def word(value: Any) -> str:
    """Return a text, or the text or name that an enum's member stands for, in lower case; of anything else ``""``."""
    if issubclass(type(value), Enum):
        member = held(value)
        value = get(member, "_value_") if issubclass(type(get(member, "_value_")), str) else get(member, "_name_")
    return str.lower(str.__getitem__(value, slice(MAX_WORD))) if issubclass(type(value), str) else ""


def is_given(value: object) -> bool:
    """Claim that a value is neither None nor False nor empty; objects of a user's class are not asked."""
    return bool(value) if type(value) in {bool, str, list, tuple, dict} else value is not None


def is_blank(text: str) -> bool:
    """Claim that a text has nothing but white space."""
    return not str.__len__(text) or str.isspace(text)


def shows(content: Any) -> bool:
    """Claim that a message's content, a text or a list of parts, shows anything but thoughts."""
    if issubclass(type(content), str):
        return not is_blank(content)
    if issubclass(type(content), list | tuple):
        return any(map(_part_shows, elements(content)))
    return content is not None


def _part_shows(part: Any) -> bool:
    if issubclass(type(part), str):
        return not is_blank(part)
    names = held(part)
    kind = word(get(names, "part_kind" if has(names, "part_kind") else "type"))
    if kind in TEXTS:
        return shows(get(names, "content" if has(names, "part_kind") else "text"))
    return kind not in THOUGHTS


def _refuses(content: object) -> bool:
    return any(word(get(held(part), "type")) == "refusal" for part in elements(content))


def _any_given(names: Held, *wanted: str) -> bool:
    return any(is_given(get(names, name)) for name in wanted)


def _is_cut_short(names: Held, *spellings: str) -> bool:
    return any(word(get(names, name)) in CUT_SHORT for name in spellings)


def _either(names: Held, snake: str, camel: str) -> Any:
    return get(names, snake if has(names, snake) else camel)


def is_chat_completion(names: Held) -> bool:
    """Claim that this is a chat completion of OpenAI's, or one of LiteLLM's and others' in the same form.

    The older completions have a text for a message. An error that came with the status 200 leaves all fields empty.
    """
    if word(get(names, "object")) in {"chat.completion", "text_completion"}:
        return has(names, "choices")
    choices = elements(get(names, "choices"))
    if not choices:
        return has(names, "choices", "id", "created", "model")
    first = held(choices[0])
    message = held(get(first, "message"))
    return has(first, "finish_reason") and (has(message, "role") or has(message, "content") or has(first, "text"))


def is_whole_chat_completion(names: Held) -> bool:
    """Claim that no choice was cut off, filtered or refused, and that each says something."""
    choices = elements(get(names, "choices"))
    return bool(choices) and not _any_given(names, "error") and all(map(_is_whole_choice, map(held, choices)))


def _is_whole_choice(choice: Held) -> bool:
    if _is_cut_short(choice, "finish_reason") or _any_given(choice, "error"):
        return False
    if not has(choice, "message"):
        return shows(get(choice, "text")) or not has(choice, "text")
    message = held(get(choice, "message"))
    content = get(message, "content")
    if _any_given(message, "refusal") or _refuses(content):
        return False
    return shows(content) or _any_given(message, "tool_calls", "function_call", "audio", "images")


def is_openai_response(names: Held) -> bool:
    """Claim that this is an answer of OpenAI's Responses."""
    return word(get(names, "object")) == "response" and has(names, "output")


def is_whole_openai_response(names: Held) -> bool:
    """Claim that it is completed, without an error or a refusal, and has more to show than thoughts."""
    if word(get(names, "status")) in UNFINISHED or _any_given(names, "error", "incomplete_details"):
        return False
    items = [held(item) for item in elements(get(names, "output"))]
    messages = [item for item in items if word(get(item, "type")) == "message"]
    if any(word(get(item, "status")) == "incomplete" for item in items):
        return False
    if any(_refuses(get(message, "content")) for message in messages):
        return False
    others = [item for item in items if word(get(item, "type")) not in THOUGHTS | {"message"}]
    return bool(others) or any(shows(get(message, "content")) for message in messages)


def is_anthropic_message(names: Held) -> bool:
    """Claim that this is a message of Anthropic's."""
    return (
        has(names, "content", "stop_reason")
        and word(get(names, "type")) == "message"
        and word(get(names, "role")) == "assistant"
    )


def is_whole_anthropic_message(names: Held) -> bool:
    """Claim that it ended by itself, with something to show."""
    return not _is_cut_short(names, "stop_reason") and shows(get(names, "content"))


def is_gemini_response(names: Held) -> bool:
    """Claim that this is a response of Gemini's, with the names of its SDK or with those of the service."""
    if _is_blocked(names):
        return True
    candidates = elements(get(names, "candidates"))
    if not candidates:
        return has(names, "candidates", "usage_metadata", "model_version") or has(
            names, "candidates", "usageMetadata", "modelVersion"
        )
    first = held(candidates[0])
    ending = word(_either(first, "finish_reason", "finishReason"))
    return ending in GEMINI_ENDINGS or has(held(get(first, "content")), "parts")


def is_whole_gemini_response(names: Held) -> bool:
    """Claim that neither the prompt nor an answer was blocked, and that each candidate ended with something to show."""
    candidates = elements(get(names, "candidates"))
    return bool(candidates) and not _is_blocked(names) and all(map(_is_whole_candidate, map(held, candidates)))


def _is_whole_candidate(candidate: Held) -> bool:
    parts = elements(get(held(get(candidate, "content")), "parts"))
    ended = not _is_cut_short(candidate, "finish_reason", "finishReason")
    return ended and any(_gemini_part_shows(held(part)) for part in parts)


def _gemini_part_shows(part: Held) -> bool:
    if is_given(get(part, "thought")):
        return False
    others = dict.keys(part) - BESIDE_GEMINI_PARTS
    return shows(get(part, "text")) or any(get(part, name) is not None for name in others)


def _is_blocked(names: Held) -> bool:
    """Claim that Gemini, or LangChain's note of its feedback, gives a reason why the prompt was not answered."""
    reason = _either(held(_either(names, "prompt_feedback", "promptFeedback")), "block_reason", "blockReason")
    if type(reason) is int:
        return reason > 0
    return word(reason) not in {"", "blocked_reason_unspecified", "block_reason_unspecified"}


def is_ollama_answer(names: Held) -> bool:
    """Claim that this is an answer of Ollama's, to a chat or to a prompt."""
    return has(names, "model", "created_at", "done") and (has(names, "message") or has(names, "response"))


def is_whole_ollama_answer(names: Held) -> bool:
    """Claim that it is done, was not cut off, and has something to show."""
    if get(names, "done") is False or _is_cut_short(names, "done_reason") or _any_given(names, "error"):
        return False
    if not has(names, "message"):
        return shows(get(names, "response")) or _any_given(names, "image")
    message = held(get(names, "message"))
    return shows(get(message, "content")) or _any_given(message, "tool_calls", "images")


def is_langchain_message(names: Held) -> bool:
    """Claim that this is a message of a model's in LangChain."""
    return has(names, "content", "response_metadata") and word(get(names, "type")) in {"ai", "aimessagechunk"}


def is_whole_langchain_message(names: Held) -> bool:
    """Claim that its metadata, which are those of any vendor, tell of a whole answer, and that it shows something."""
    noted, beside = held(get(names, "response_metadata")), held(get(names, "additional_kwargs"))
    content = get(names, "content")
    if (
        _is_cut_short(noted, "finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason")
        or word(get(noted, "status")) in UNFINISHED
        or get(noted, "done") is False
        or _any_given(noted, "incomplete_details")
        or _is_blocked(noted)
    ):
        return False
    if _any_given(names, "invalid_tool_calls") or _any_given(beside, "refusal") or _refuses(content):
        return False
    called = _any_given(names, "tool_calls") or _any_given(beside, "tool_calls", "function_call", "audio", "images")
    return called or shows(content)


def is_langchain_result(names: Held) -> bool:
    """Claim that this is a ``ChatResult`` or an ``LLMResult`` of LangChain's."""
    return has(names, "generations", "llm_output")


def is_whole_langchain_result(names: Held) -> bool:
    """Claim that there are generations, none of them cut short or blank; their messages are responses of their own."""
    found = [held(each) for each in generations(names)]
    return bool(found) and all(
        not _is_cut_short(held(get(each, "generation_info")), "finish_reason", "stop_reason", "done_reason")
        and (has(each, "message") or shows(get(each, "text")))
        for each in found
    )


def is_pydantic_ai_response(names: Held) -> bool:
    """Claim that this is a model's response in Pydantic AI."""
    return word(get(names, "kind")) == "response" and has(names, "parts", "usage", "model_name")


def is_whole_pydantic_ai_response(names: Held) -> bool:
    """Claim that it was not cut short, and that its parts show something."""
    return not _is_cut_short(names, "finish_reason") and shows(get(names, "parts"))


def is_error_message(names: Held) -> bool:
    """Claim that this is a body of Anthropic's that tells of an error; no such body is a whole answer."""
    return word(get(names, "type")) == "error" and has(held(get(names, "error")), "type", "message")


def never(_names: Held) -> bool:
    """Claim that nothing of a shape is a whole answer."""
    return False


SHAPES: tuple[Shape, ...] = (
    Shape(is_chat_completion, is_whole_chat_completion),
    Shape(is_openai_response, is_whole_openai_response),
    Shape(is_anthropic_message, is_whole_anthropic_message),
    Shape(is_gemini_response, is_whole_gemini_response),
    Shape(is_ollama_answer, is_whole_ollama_answer),
    Shape(is_langchain_message, is_whole_langchain_message),
    Shape(is_langchain_result, is_whole_langchain_result),
    Shape(is_pydantic_ai_response, is_whole_pydantic_ai_response),
    Shape(is_error_message, never),
)
