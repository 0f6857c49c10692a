"""The methods by which vendors' SDKs are called, each with the calls that people make of it.

An SDK is imported when a row of it is made, so that each may be missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel

QUESTION = "How do I reset my password?"
REWORDED = "How can I reset my password?"
OTHER_QUESTION = "Where is my parcel?"

QUIET = {
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
    "NO_PROXY": "*",
    "OTEL_SDK_DISABLED": "true",
}
"""Environment variables under which the SDKs speak with nobody but the server that they are given."""

SECONDS = 5.0
"""How long a client waits for an answer; none tries twice."""

Changed: TypeAlias = Literal["model", "system", "temperature", "tools", "stream"]


class Ask(NamedTuple):
    """What a call asks, and how."""

    question: str = QUESTION
    model: str = "gpt-4o"
    system: str = "Be brief."
    temperature: float = 0.0
    tools: bool = False
    stream: bool = False


CHANGES: Mapping[Changed, Ask] = {
    "model": Ask(model="gpt-4o-mini"),
    "system": Ask(system="Answer in French."),
    "temperature": Ask(temperature=1.0),
    "tools": Ask(tools=True),
    "stream": Ask(stream=True),
}
"""The calls that differ from the first in one thing."""


class Call(NamedTuple):
    """The arguments of a call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Structured(BaseModel):
    """What a structured answer is parsed to."""

    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A method of an SDK.

    Attributes:
        name: how the method is called, as users write it.
        package: the module that must be installed.
        make: returns the method of a new object that asks a server at an address; with the name of a setting, of an
            object that differs in this setting.
        arguments: returns the arguments of a call that asks something.
        text: returns the answer's text as users read it.
        changes: what a call of it may change by an argument.
        others: the settings in which its objects may differ.
        asynchronous: whether its result is awaited.
        streams_by: the method that streams, if this one does not.
        live: the changes made by live objects, for which the cache may stand aside.
        options: options of `SemanticCache.wrap` without which it may not do.
    """

    name: str
    package: str
    make: Callable[[str, str], Callable[..., Any]]
    arguments: Callable[[Ask], Call]
    text: Callable[[Any], str]
    changes: tuple[Changed, ...] = ("model", "system", "temperature", "tools", "stream")
    others: tuple[str, ...] = ("base_url",)
    asynchronous: bool = False
    streams_by: str = ""
    live: tuple[Changed, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


WITHOUT_STREAM: tuple[Changed, ...] = ("model", "system", "temperature", "tools")

SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
FUNCTION = {"name": "look_up", "description": "Look a place up.", "parameters": SCHEMA}


def look_up(place: str) -> str:
    """Look a place up."""
    return place


def messages(ask: Ask) -> list[dict[str, str]]:
    """Return what is asked as chat messages."""
    return [{"role": "system", "content": ask.system}, {"role": "user", "content": ask.question}]


def streaming(ask: Ask) -> dict[str, Any]:
    """Return the argument that asks for a stream, if one is asked for."""
    return {"stream": True} if ask.stream else {}


def address(url: str, other: str, version: str = "") -> str:
    """Return the base URL of a client, or another that answers as well."""
    return f"{url}/other{version}" if other == "base_url" else f"{url}{version}"


def openai_options(url: str, other: str) -> dict[str, Any]:
    """Return the settings of a client of OpenAI."""
    key = "another" if other == "api_key" else "key"
    return {"base_url": address(url, other, "/v1"), "api_key": key, "max_retries": 0, "timeout": SECONDS}


def openai_method(path: str, client: str, url: str, other: str) -> Callable[..., Any]:
    """Return a method of OpenAI's client."""
    import openai

    method: Callable[..., Any] = attrgetter(path)(getattr(openai, client)(**openai_options(url, other)))
    return method


def openai_chat(ask: Ask) -> Call:
    """Return the arguments of a chat completion."""
    tools = {"tools": [{"type": "function", "function": FUNCTION}]} if ask.tools else {}
    named = {"model": ask.model, "messages": messages(ask), "temperature": ask.temperature}
    return Call((), {**named, **tools, **streaming(ask)})


def openai_parsed_chat(ask: Ask) -> Call:
    """Return the arguments of a chat completion that is parsed."""
    call = openai_chat(ask)
    strict = {**FUNCTION, "parameters": {**SCHEMA, "additionalProperties": False}, "strict": True}
    tools = {"tools": [{"type": "function", "function": strict}]} if ask.tools else {}
    return Call((), {**call.kwargs, **tools, "response_format": Structured})


def openai_response(ask: Ask) -> Call:
    """Return the arguments of a response of OpenAI, whose prompt is a text."""
    tools = {"tools": [{"type": "function", "strict": False, **FUNCTION}]} if ask.tools else {}
    named = {"model": ask.model, "instructions": ask.system, "input": ask.question, "temperature": ask.temperature}
    return Call((), {**named, **tools, **streaming(ask)})


def openai_response_of_messages(ask: Ask) -> Call:
    """Return the arguments of a response of OpenAI, whose prompt is in messages."""
    named = openai_response(ask).kwargs
    del named["instructions"]
    return Call((), {**named, "input": messages(ask)})


def openai_parsed_response(ask: Ask) -> Call:
    """Return the arguments of a response of OpenAI that is parsed."""
    return Call((), {**openai_response(ask).kwargs, "text_format": Structured})


def openai_rows() -> Iterator[Row]:
    """Yield the rows of OpenAI's SDK."""
    for client, asynchronous in (("OpenAI", False), ("AsyncOpenAI", True)):
        row = partial(Row, package="openai", asynchronous=asynchronous)

        def made(path: str, client: str = client) -> Callable[[str, str], Callable[..., Any]]:
            return partial(openai_method, path, client)

        chat_text: Callable[[Any], str] = lambda answer: answer.choices[0].message.content  # noqa: E731
        yield row(f"{client}().chat.completions.create", make=made("chat.completions.create"),
                  arguments=openai_chat, text=chat_text,
                  options={"mode": "async"} if asynchronous else {})  # fmt: skip
        yield row(f"{client}().chat.completions.parse", make=made("chat.completions.parse"),
                  arguments=openai_parsed_chat, text=lambda answer: answer.choices[0].message.parsed.text,
                  changes=WITHOUT_STREAM, streams_by="stream")  # fmt: skip
        yield row(f"{client}().responses.create", make=made("responses.create"), arguments=openai_response,
                  text=lambda answer: answer.output_text, options={"prompt": "input"})  # fmt: skip
        yield row(f"{client}().responses.create(input=[...])", make=made("responses.create"),
                  arguments=openai_response_of_messages, text=lambda answer: answer.output_text,
                  options={"prompt": "input"})  # fmt: skip
        yield row(f"{client}().responses.parse", make=made("responses.parse"), arguments=openai_parsed_response,
                  text=lambda answer: answer.output_parsed.text, changes=WITHOUT_STREAM, streams_by="stream",
                  options={"prompt": "input"})  # fmt: skip


def anthropic_method(client: str, url: str, other: str) -> Callable[..., Any]:
    """Return the method of Anthropic's client that creates a message."""
    import anthropic

    made = getattr(anthropic, client)(base_url=address(url, other), api_key="key", max_retries=0, timeout=SECONDS)
    create: Callable[..., Any] = made.messages.create
    return create


def anthropic_message(ask: Ask) -> Call:
    """Return the arguments of a message of Anthropic."""
    tools = {"tools": [{"name": "look_up", "input_schema": SCHEMA}]} if ask.tools else {}
    named = {"model": ask.model, "max_tokens": 100, "system": ask.system, "messages": messages(ask)[1:]}
    # Of late the method has no argument for it.
    return Call((), {**named, "extra_body": {"temperature": ask.temperature}, **tools, **streaming(ask)})


def anthropic_rows() -> Iterator[Row]:
    """Yield the rows of Anthropic's SDK."""
    for client in ("Anthropic", "AsyncAnthropic"):
        yield Row(f"{client}().messages.create", "anthropic", partial(anthropic_method, client), anthropic_message,
                  lambda answer: answer.content[0].text, asynchronous=client.startswith("Async"),
                  options={"mode": "async"} if client.startswith("Async") else {})  # fmt: skip


def gemini_method(path: str, url: str, other: str) -> Callable[..., Any]:
    """Return a method of Google's client."""
    from google import genai

    http = genai.types.HttpOptions(base_url=address(url, other), timeout=int(SECONDS * 1000))
    client = genai.Client(api_key="key", http_options=http)
    method: Callable[..., Any] = attrgetter(path)(client)
    # The method does not keep its client alive, and a client that is gone has closed its connections.
    _KEPT.append(client)
    return method


_KEPT: list[object] = []


def gemini_config(ask: Ask) -> Any:
    """Return how Gemini is to answer."""
    from google.genai import types

    declared = types.FunctionDeclaration(name="look_up", parameters_json_schema=SCHEMA)
    return types.GenerateContentConfig(
        system_instruction=ask.system,
        temperature=ask.temperature,
        tools=[types.Tool(function_declarations=[declared])] if ask.tools else None,
    )


def gemini_text(ask: Ask) -> Call:
    """Return the arguments for Gemini, whose prompt is a text."""
    return Call((), {"model": ask.model, "contents": ask.question, "config": gemini_config(ask)})


def gemini_contents(ask: Ask) -> Call:
    """Return the arguments for Gemini, whose prompt is in a list of contents."""
    from google.genai import types

    content = types.Content(role="user", parts=[types.Part.from_text(text=ask.question)])
    return Call((), {"model": ask.model, "contents": [content], "config": gemini_config(ask)})


def gemini_rows() -> Iterator[Row]:
    """Yield the rows of Google's SDK."""
    for path in ("models.generate_content", "aio.models.generate_content"):
        row = partial(
            Row, package="google.genai", make=partial(gemini_method, path), text=attrgetter("text"),
            changes=WITHOUT_STREAM, streams_by="generate_content_stream", asynchronous=path.startswith("aio"),
            options={"prompt": "contents"},
        )  # fmt: skip
        yield row(f"Client().{path}", arguments=gemini_text)
        yield row(f"Client().{path}(contents=[...])", arguments=gemini_contents)


def litellm_function(name: str, url: str, _other: str) -> Callable[..., Any]:
    """Return a function of LiteLLM; it has no object, and is told the address by each call."""
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    os.environ["OPENAI_API_BASE"] = address(url, "", "/v1")
    os.environ["OPENAI_API_KEY"] = "key"
    function: Callable[..., Any] = getattr(litellm, name)
    return function


def litellm_chat(ask: Ask) -> Call:
    """Return the arguments of a completion of LiteLLM."""
    named = openai_chat(ask).kwargs
    return Call((), {**named, "model": f"openai/{ask.model}", "timeout": SECONDS, "num_retries": 0, "max_retries": 0})


def litellm_rows() -> Iterator[Row]:
    """Yield the rows of LiteLLM."""
    for name in ("completion", "acompletion"):
        yield Row(f"litellm.{name}", "litellm", partial(litellm_function, name), litellm_chat,
                  lambda answer: answer.choices[0].message.content, others=(),
                  asynchronous=name.startswith("a"))  # fmt: skip


def ollama_method(path: str, url: str, other: str) -> Callable[..., Any]:
    """Return a method of Ollama's client."""
    import ollama

    client, _, name = path.partition(".")
    method: Callable[..., Any] = getattr(getattr(ollama, client)(host=address(url, other), timeout=SECONDS), name)
    return method


def ollama_chat(ask: Ask) -> Call:
    """Return the arguments of a chat with Ollama."""
    tools = {"tools": [{"type": "function", "function": FUNCTION}]} if ask.tools else {}
    named = {"model": ask.model, "messages": messages(ask), "options": {"temperature": ask.temperature}}
    return Call((), {**named, **tools, **streaming(ask)})


def ollama_generate(ask: Ask) -> Call:
    """Return the arguments with which Ollama generates."""
    options = {"temperature": ask.temperature}
    return Call((ask.model, ask.question), {"system": ask.system, "options": options, **streaming(ask)})


def ollama_rows() -> Iterator[Row]:
    """Yield the rows of Ollama's SDK."""
    for client in ("Client", "AsyncClient"):
        row = partial(Row, package="ollama", asynchronous=client.startswith("Async"))
        yield row(f"ollama.{client}().chat", make=partial(ollama_method, f"{client}.chat"), arguments=ollama_chat,
                  text=lambda answer: answer.message.content)  # fmt: skip
        yield row(f"ollama.{client}().generate", make=partial(ollama_method, f"{client}.generate"),
                  arguments=ollama_generate, text=lambda answer: answer.response,
                  changes=("model", "system", "temperature", "stream"))  # fmt: skip


def instructor_method(client: str, url: str, other: str) -> Callable[..., Any]:
    """Return the method of Instructor around OpenAI's client."""
    import instructor
    import openai

    create: Callable[..., Any] = instructor.from_openai(
        getattr(openai, client)(**openai_options(url, other))
    ).chat.completions.create
    return create


def instructor_chat(ask: Ask) -> Call:
    """Return the arguments of a chat completion with Instructor."""
    return Call((), {**openai_chat(ask).kwargs, "response_model": Structured, "max_retries": 0})


def instructor_rows() -> Iterator[Row]:
    """Yield the rows of Instructor."""
    for client in ("OpenAI", "AsyncOpenAI"):
        yield Row(f"instructor.from_openai({client}()).chat.completions.create", "instructor",
                  partial(instructor_method, client), instructor_chat, lambda answer: answer.text,
                  changes=("model", "system", "temperature"), streams_by="create_partial",
                  asynchronous=client.startswith("Async"))  # fmt: skip
