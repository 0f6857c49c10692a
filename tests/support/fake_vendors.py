"""A server on this machine that answers as the vendors of language models do, each answer unlike all others.

It speaks the parts of OpenAI's chat completions and responses, Anthropic's messages, Gemini's ``generateContent`` and
Ollama's chat and generate that the programs of these vendors read, as one body and as a stream. Any path may stand
before that of an interface, so that clients may differ in their base URLs alone.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, NamedTuple, TypeAlias

Json: TypeAlias = dict[str, Any]

CREATED = 1_700_000_000
TOKENS = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


class Interface(NamedTuple):
    """One interface of a vendor.

    Attributes:
        path: how the paths of its requests end, or what they contain.
        whole: the body for a request and the text of the answer.
        parts: the events of a stream of it.
        framing: how an event is written.
    """

    path: str
    whole: Callable[[Json, str], Json]
    parts: Callable[[Json, str], Iterator[Json]]
    framing: Callable[[Json], str]


class FakeVendors:
    """What the server is asked for.

    Attributes:
        url: where it listens.
        bodies: the requests that it answered.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[Json] = []
        self._numbers = count(1)

    @property
    def calls(self) -> int:
        """How many requests it answered."""
        return len(self.bodies)

    def answer(self, path: str, body: Json) -> tuple[str, bytes] | None:
        """Return the type and the bytes of the answer to a request, or None if no vendor has such a path."""
        interface = next((each for each in INTERFACES if each.path in path), None)
        if interface is None:
            return None
        self.bodies.append(body)
        digest = blake2b(json.dumps([path, body], sort_keys=True).encode(), digest_size=4).hexdigest()
        text = f"answer {next(self._numbers)} to request {digest}"
        if not (body.get("stream") or ":streamGenerateContent" in path):
            return "application/json", json.dumps(interface.whole(body, text)).encode()
        events = "".join(interface.framing(event) for event in interface.parts(body, text))
        if interface.path == "/chat/completions":
            events += "data: [DONE]\n\n"
        kind = "application/x-ndjson" if interface.framing is _line else "text/event-stream"
        return kind, events.encode()


@contextmanager
def serving() -> Iterator[FakeVendors]:
    """Serve on a free port of 127.0.0.1 until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # The head and the body go out in one piece: a second one would wait for the first to be acknowledged.
        wbufsize = -1

        def do_POST(self) -> None:
            """Answer one request."""
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kind, content = vendors.answer(self.path, body) or ("text/plain", b"no such interface")
            self.send_response(404 if kind == "text/plain" else 200)
            self.send_header("Content-Type", kind)
            self.send_header("X-Request-Id", f"request-{vendors.calls}")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    vendors = FakeVendors(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield vendors
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _line(event: Json) -> str:
    return json.dumps(event) + "\n"


def _data(event: Json) -> str:
    return f"data: {json.dumps(event)}\n\n"


def _named_event(event: Json) -> str:
    return f"event: {event['type']}\n{_data(event)}"


def _example(schema: Mapping[str, Any], text: str) -> Any:
    """Return a value that a JSON schema allows, with `text` for every string."""
    match schema.get("type"):
        case "object":
            return {name: _example(each, text) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [_example(schema.get("items", {}), text)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
    return text


def _structured(schema: Mapping[str, Any] | None, text: str) -> str:
    return text if schema is None else json.dumps(_example(schema, text))


def _chat_message(body: Json, text: str) -> Json:
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        tool = next(
            each["function"] for each in body["tools"] if each["function"]["name"] == choice["function"]["name"]
        )
        arguments = json.dumps(_example(tool["parameters"], text))
        call = {"id": "call_1", "type": "function", "function": {"name": tool["name"], "arguments": arguments}}
        return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    return {"role": "assistant", "content": _structured(schema, text), "refusal": None}


def _chat(body: Json, text: str) -> Json:
    choice = {"index": 0, "finish_reason": "stop", "logprobs": None, "message": _chat_message(body, text)}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": CREATED, "model": body["model"]}
    return {**head, "choices": [choice], "usage": TOKENS}


def _chat_parts(body: Json, text: str) -> Iterator[Json]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED, "model": body["model"]}
    for delta, reason in (({"role": "assistant", "content": text}, None), ({}, "stop")):
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}]}


def _response(body: Json, text: str) -> Json:
    schema = body.get("text", {}).get("format", {}).get("schema")
    content = {"type": "output_text", "text": _structured(schema, text), "annotations": [], "logprobs": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [content]}
    usage = {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 8,
    }
    head = {"id": "resp_1", "object": "response", "created_at": CREATED, "model": body["model"], "status": "completed"}
    tools = {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "temperature": 1.0, "top_p": 1.0}
    nothing: Json = {"error": None, "incomplete_details": None, "instructions": None, "metadata": {}}
    return {**head, **tools, **nothing, "output": [message], "usage": usage}


def _response_parts(body: Json, text: str) -> Iterator[Json]:
    whole = _response(body, text)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "sequence_number": 0, "response": begun}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    yield {"type": "response.output_text.delta", "sequence_number": 1, "delta": text, "logprobs": [], **place}
    yield {"type": "response.completed", "sequence_number": 2, "response": whole}


def _message(body: Json, text: str) -> Json:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
    end = {"stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 3}}
    return {**head, "content": [{"type": "text", "text": text}], **end}


def _message_parts(body: Json, text: str) -> Iterator[Json]:
    yield {"type": "message_start", "message": {**_message(body, text), "content": [], "stop_reason": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    yield {"type": "content_block_stop", "index": 0}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": 3}}
    yield {"type": "message_stop"}


def _gemini(_body: Json, text: str) -> Json:
    content = {"role": "model", "parts": [{"text": text}]}
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}
    candidate = {"content": content, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r1"}


def _gemini_parts(body: Json, text: str) -> Iterator[Json]:
    yield _gemini(body, text)


def _ollama(body: Json, text: str, *, done: bool = True) -> Json:
    content: Json = {"response": text} if "prompt" in body else {"message": {"role": "assistant", "content": text}}
    head = {"model": body["model"], "created_at": "2024-01-01T00:00:00Z", **content, "done": done}
    return {**head, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 3} if done else head


def _ollama_parts(body: Json, text: str) -> Iterator[Json]:
    yield _ollama(body, text, done=False)
    yield _ollama(body, "", done=True)


INTERFACES = (
    Interface("/chat/completions", _chat, _chat_parts, _data),
    Interface("/responses", _response, _response_parts, _named_event),
    Interface("/messages", _message, _message_parts, _named_event),
    Interface("enerateContent", _gemini, _gemini_parts, _data),
    Interface("/api/chat", _ollama, _ollama_parts, _line),
    Interface("/api/generate", _ollama, _ollama_parts, _line),
)
"""What is answered, by path."""
