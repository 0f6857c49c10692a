"""Answers of language models as their services send them: whole ones, and ones that are not, in every known shape."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from typing import Any, NamedTuple, TypeAlias

Json: TypeAlias = dict[str, Any]

TEXT = "Within 30 days."


class Answer(NamedTuple):
    """One answer.

    Attributes:
        name: what it shows.
        body: what a service sends, or what a framework makes of it, as a dict.
        whole: whether it is a whole answer.
        tokens: how many tokens it says it took.
        package: whose objects it is read into.
        read: makes that object of the body.
    """

    name: str
    body: Json
    whole: bool
    tokens: int
    package: str
    read: Callable[[Json], Any]


def _read_as(path: str, method: str = "model_validate") -> Callable[[Json], Any]:
    """Return what makes an object of a body by a method of a class; ``""``: by keyword arguments."""
    module, _, name = path.rpartition(".")

    def read(body: Json) -> Any:
        cls = getattr(importlib.import_module(module), name)
        if method == "model_validate":
            return cls.model_validate(body)
        return (getattr(cls, method) if method else cls)(**body)

    return read


def dumped(answer: Any) -> Json:
    """Return the dict that an SDK's object gives of itself, and of the response that Instructor read it from."""
    if is_dataclass(answer) and not isinstance(answer, type):
        return asdict(answer)
    raw = vars(answer).get("_raw_response")
    return dict(answer.model_dump()) | ({} if raw is None else {"_raw_response": dumped(raw)})


def _chat(finish: str | None = "stop", **message: Any) -> Json:
    spoken = {"role": "assistant", "content": TEXT, "refusal": None, **message}
    choice = {"index": 0, "finish_reason": finish, "logprobs": None, "message": spoken}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return {**head, "choices": [choice], "usage": usage}


CALL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
AUDIO = {"id": "a", "data": "UklGRg==", "expires_at": 1, "transcript": TEXT}
ERROR = {"message": "The server is overloaded.", "type": "server_error", "code": "503"}


def openai_chats() -> Iterator[Answer]:
    """Yield chat completions of OpenAI's, and LiteLLM's in the same form."""
    rows: list[tuple[str, Json, bool]] = [
        ("stop", _chat(), True),
        ("tool call", _chat("tool_calls", content=None, tool_calls=[CALL]), True),
        ("audio", _chat(content=None, audio=AUDIO), True),
        ("length", _chat("length"), False),
        ("length in a tool call", _chat("length", content=None, tool_calls=[CALL]), False),
        ("content filter", _chat("content_filter", content=None), False),
        ("refusal", _chat(content=None, refusal="I cannot."), False),
        ("no content", _chat(content=None), False),
        ("blank content", _chat(content=" \n"), False),
        ("second choice cut off", {**_chat(), "choices": [*_chat()["choices"], *_chat("length")["choices"]]}, False),
        ("no choices", {**_chat(), "choices": []}, False),
    ]
    for name, body, whole in rows:
        yield Answer(name, body, whole, 8, "openai", _read_as("openai.types.chat.ChatCompletion"))
    for name, body, whole in rows:
        if name not in {"refusal", "no choices"}:
            yield Answer(name, body, whole, 8, "litellm", _read_as("litellm.ModelResponse", ""))
    completed = _read_as("openai.types.chat.ChatCompletion", "construct")
    yield Answer("error with status 200", {"error": ERROR}, False, 0, "openai", completed)
    older = {**_chat(), "object": "text_completion"}
    for name, choice, whole in [
        ("older, stop", {"text": TEXT, "finish_reason": "stop"}, True),
        ("older, length", {"text": TEXT, "finish_reason": "length"}, False),
        ("older, blank", {"text": "", "finish_reason": "stop"}, False),
    ]:
        body = {**older, "choices": [{"index": 0, "logprobs": None, **choice}]}
        yield Answer(name, body, whole, 8, "openai", _read_as("openai.types.Completion"))


def _response(*output: Json, **changes: Any) -> Json:
    usage = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}  # type: ignore[dict-item]
    head = {"id": "r", "object": "response", "created_at": 1.0, "model": "m", "status": "completed", "error": None}
    asked = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "incomplete_details": None}
    return {**head, **asked, "usage": usage, "output": list(output), **changes}


def _said(*parts: Json, status: str = "completed") -> Json:
    return {"id": "m", "type": "message", "role": "assistant", "status": status, "content": list(parts)}


def openai_responses() -> Iterator[Answer]:
    """Yield answers of OpenAI's Responses."""
    said = _said({"type": "output_text", "text": TEXT, "annotations": []})
    thought = {"id": "t", "type": "reasoning", "summary": []}
    called = {"id": "f", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"}
    error = {"code": "server_error", "message": "The server is overloaded."}
    for name, body, whole in [
        ("completed", _response(thought, said), True),
        ("function call", _response(called), True),
        ("incomplete", _response(said, status="incomplete"), False),
        ("cut off", _response(said, incomplete_details={"reason": "max_output_tokens"}), False),
        *((status, _response(said, status=status), False) for status in ("cancelled", "in_progress", "queued")),
        ("failed", _response(status="failed", error=error), False),
        ("refusal", _response(_said({"type": "refusal", "refusal": "I cannot."})), False),
        ("message cut off", _response({**said, "status": "incomplete"}), False),
        ("thoughts only", _response(thought), False),
        ("blank", _response(_said({"type": "output_text", "text": "", "annotations": []})), False),
        ("no output", _response(), False),
    ]:
        yield Answer(f"responses, {name}", body, whole, 8, "openai", _read_as("openai.types.responses.Response"))


def anthropic_messages() -> Iterator[Answer]:
    """Yield messages of Anthropic's."""

    def message(stop: str, *content: Json) -> Json:
        usage = {"input_tokens": 2, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 3}
        head = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
        return {**head, "stop_reason": stop, "content": list(content), "usage": usage}

    said = {"type": "text", "text": TEXT, "citations": None}
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    called = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    read = _read_as("anthropic.types.Message")
    for name, body, whole in [
        ("end_turn", message("end_turn", thought, said), True),
        ("stop_sequence", message("stop_sequence", said), True),
        ("tool_use", message("tool_use", called), True),
        *(
            (stop, message(stop, said), False)
            for stop in ("max_tokens", "refusal", "pause_turn", "model_context_window_exceeded")
        ),
        ("no content", message("end_turn"), False),
        ("blank", message("end_turn", {**said, "text": " "}), False),
        ("thoughts only", message("end_turn", thought), False),
    ]:
        yield Answer(name, body, whole, 8, "anthropic", read)
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}
    yield Answer("error", error, False, 0, "anthropic", _read_as("anthropic.types.Message", "construct"))


GEMINI_FAILURES = (
    "MAX_TOKENS", "SAFETY", "RECITATION", "LANGUAGE", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",
    "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "IMAGE_SAFETY",
)  # fmt: skip


def gemini_responses() -> Iterator[Answer]:
    """Yield responses of Gemini's."""

    def response(*parts: Json, finish: str = "STOP") -> Json:
        content = {"role": "model", "parts": list(parts)}
        usage = {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}
        candidates = [{"content": content, "finishReason": finish, "index": 0}]
        return {"candidates": candidates, "usageMetadata": usage, "modelVersion": "m"}

    said = {"text": TEXT}
    blocked = {**response(), "candidates": [], "promptFeedback": {"blockReason": "SAFETY"}}
    for name, body, whole in [
        ("STOP", response({"text": "Hm.", "thought": True}, said), True),
        ("function call", response({"functionCall": {"name": "f", "args": {}}}), True),
        ("image", response({"inlineData": {"mimeType": "image/png", "data": "UklGRg=="}}), True),
        *((finish, response(said, finish=finish), False) for finish in GEMINI_FAILURES),
        ("thoughts only", response({"text": "Hm.", "thought": True}), False),
        ("no parts", response(), False),
        ("blank", response({"text": "", "thoughtSignature": "UklGRg=="}), False),
        ("prompt blocked", blocked, False),
        ("no candidates", {**response(), "candidates": []}, False),
        ("candidate blocked", {**response(), "candidates": [{"finishReason": "SAFETY", "index": 0}]}, False),
    ]:
        read = _read_as("google.genai.types.GenerateContentResponse")
        yield Answer(name, body, whole, 8, "google.genai", read)


def ollama_answers() -> Iterator[Answer]:
    """Yield answers of Ollama's."""
    head = {"model": "m", "created_at": "2025-01-01T00:00:00Z", "done": True, "done_reason": "stop"}
    head |= {"prompt_eval_count": 5, "eval_count": 3}

    def chat(**changes: Any) -> Json:
        return {**head, "message": {"role": "assistant", "content": TEXT}, **changes}

    def message(**changes: Any) -> Json:
        return {"role": "assistant", "content": "", **changes}

    for name, body, whole in [
        ("chat, stop", chat(), True),
        ("chat, tool call", chat(message=message(tool_calls=[{"function": {"name": "f", "arguments": {}}}])), True),
        ("chat, not done", chat(done=False, done_reason=None), False),
        ("chat, length", chat(done_reason="length"), False),
        ("chat, load", chat(done_reason="load", message=message()), False),
        ("chat, empty", chat(message=message()), False),
        ("chat, thoughts only", chat(message=message(thinking="Hm.")), False),
    ]:
        yield Answer(name, body, whole, 8, "ollama", _read_as("ollama.ChatResponse", ""))
    for name, body, whole in [
        ("generate, stop", {**head, "response": TEXT}, True),
        ("generate, length", {**head, "response": TEXT, "done_reason": "length"}, False),
        ("generate, empty", {**head, "response": ""}, False),
    ]:
        yield Answer(name, body, whole, 8, "ollama", _read_as("ollama.GenerateResponse", ""))


def langchain_answers() -> Iterator[Answer]:
    """Yield messages and results of LangChain's."""
    usage = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}

    def message(content: Any = TEXT, *, noted: Json | None = None, **changes: Any) -> Json:
        return {"type": "ai", "content": content, "response_metadata": noted or {}, "usage_metadata": usage, **changes}

    call = {"name": "f", "args": {}, "id": "t", "type": "tool_call"}
    bad_call = {"name": "f", "args": "{", "id": "t", "error": None, "type": "invalid_tool_call"}
    messages: list[tuple[str, Json, bool]] = [
        ("stop", message(noted={"finish_reason": "stop"}), True),
        ("nothing noted", message(), True),
        ("tool call", message("", tool_calls=[call]), True),
        ("parts", message([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": TEXT}]), True),
        ("length", message(noted={"finish_reason": "length"}), False),
        ("MAX_TOKENS", message(noted={"finish_reason": "MAX_TOKENS"}), False),
        ("max_tokens", message(noted={"stop_reason": "max_tokens"}), False),
        ("done length", message(noted={"done": True, "done_reason": "length"}), False),
        ("incomplete", message(noted={"status": "incomplete"}), False),
        ("prompt blocked", message("", noted={"prompt_feedback": {"block_reason": 1}}), False),
        ("refusal", message("", additional_kwargs={"refusal": "I cannot."}), False),
        ("invalid tool call", message("", invalid_tool_calls=[bad_call]), False),
        ("empty", message(""), False),
        ("no parts", message([]), False),
        ("thoughts only", message([{"type": "reasoning", "summary": []}]), False),
    ]
    for name, body, whole in messages:
        yield Answer(name, body, whole, 8, "langchain_core", _read_as("langchain_core.messages.AIMessage", ""))

    def result(*generations: Any, nested: bool = False) -> Json:
        found: list[Any] = list(generations)
        return {"generations": [found] if nested else found, "llm_output": {"token_usage": {"total_tokens": 8}}}

    spoken, cut_off = ({"text": TEXT, "message": each} for each in (messages[0][1], messages[4][1]))
    chats = _read_as("langchain_core.outputs.ChatResult", "")
    texts = _read_as("langchain_core.outputs.LLMResult", "")
    yield Answer("chat result, stop", result(spoken), True, 8, "langchain_core", chats)
    yield Answer("chat result, length", result(cut_off), False, 8, "langchain_core", chats)
    yield Answer("chat result, empty", result(), False, 8, "langchain_core", chats)
    for name, generation, whole in [
        ("stop", {"text": TEXT, "generation_info": {"finish_reason": "stop"}}, True),
        ("length", {"text": TEXT, "generation_info": {"finish_reason": "length"}}, False),
        ("blank", {"text": " "}, False),
    ]:
        yield Answer(f"LLM result, {name}", result(generation, nested=True), whole, 8, "langchain_core", texts)


def pydantic_ai_answers() -> Iterator[Answer]:
    """Yield responses of a model in Pydantic AI, and results of runs of an agent."""
    said, thought = {"part_kind": "text", "content": TEXT}, {"part_kind": "thinking", "content": "Hm."}
    called = {"part_kind": "tool-call", "tool_name": "f", "args": {}, "tool_call_id": "t"}

    def response(*parts: Json, finish: str | None = "stop") -> Json:
        usage = {"input_tokens": 5, "output_tokens": 3}
        head = {"kind": "response", "model_name": "m", "usage": usage, "finish_reason": finish}
        return {**head, "parts": list(parts)}

    def read(body: Json) -> Any:
        messages = importlib.import_module("pydantic_ai.messages")
        return messages.ModelMessagesTypeAdapter.validate_python([body])[0]

    def run(output: Any, last: Json) -> Json:
        usage = {"input_tokens": 5, "output_tokens": 3}
        return {"output": output, "_state": {"message_history": [last], "usage": usage}}

    def read_run(body: Json) -> Any:
        graph, module = (importlib.import_module(f"pydantic_ai.{name}") for name in ("_agent_graph", "run"))
        usage = importlib.import_module("pydantic_ai.usage").RunUsage(**body["_state"]["usage"])
        history = [read(each) for each in body["_state"]["message_history"]]
        state = graph.GraphAgentState(message_history=history, usage=usage)
        return module.AgentRunResult(body["output"], _state=state)

    for name, body, whole in [
        ("stop", response(thought, said), True),
        ("tool call", response(called, finish="tool_call"), True),
        ("length", response(said, finish="length"), False),
        ("content_filter", response(said, finish="content_filter"), False),
        ("error", response(said, finish="error"), False),
        ("no parts", response(), False),
        ("thoughts only", response(thought), False),
        ("blank", response({**said, "content": ""}), False),
    ]:
        yield Answer(name, body, whole, 8, "pydantic_ai", read)
    for name, body, whole in [
        ("run, stop", run(TEXT, response(said)), True),
        ("run, length", run(TEXT, response(said, finish="length")), False),
        ("run, blank", run(" ", response(said)), False),
    ]:
        yield Answer(name, body, whole, 8, "pydantic_ai", read_run)


def instructor_answers() -> Iterator[Answer]:
    """Yield what Instructor reads out of chat completions: a model of the user's, which holds the response."""

    def read(body: Json) -> Any:
        pydantic, chat = importlib.import_module("pydantic"), importlib.import_module("openai.types.chat")
        person = pydantic.create_model("Person", name=(str, ...), _seen=(int, pydantic.PrivateAttr(0)))(**body)
        person._raw_response = chat.ChatCompletion.model_validate(body["_raw_response"])
        return person

    for name, raw, whole in [("stop", _chat(), True), ("length", _chat("length"), False)]:
        yield Answer(name, {"name": "Ada", "_raw_response": raw}, whole, 8, "instructor", read)


ANSWERS: tuple[Answer, ...] = (
    *openai_chats(), *openai_responses(), *anthropic_messages(), *gemini_responses(), *ollama_answers(),
    *langchain_answers(), *pydantic_ai_answers(), *instructor_answers(),
)  # fmt: skip
