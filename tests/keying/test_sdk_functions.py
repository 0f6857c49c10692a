"""The functions of language models' client libraries that are installed: their kinds, and their prompts."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recallm.errors import SignatureMismatchError
from recallm.keying.signature import Binder, call_kind, checked_prompt, where_defined

Fn = Callable[..., Any]


def openai() -> Iterator[tuple[str, Fn, str]]:
    """Return the functions of openai's clients."""
    sdk = pytest.importorskip("openai")
    for client, kind in ((sdk.OpenAI(api_key="x"), "sync"), (sdk.AsyncOpenAI(api_key="x"), "async")):
        yield "chat", client.chat.completions.create, kind
        yield "chat, parsed", client.chat.completions.parse, kind
        yield "chat, raw", client.chat.completions.with_raw_response.create, kind
        yield "chat, streaming", client.chat.completions.with_streaming_response.create, "sync"
        yield "completions", client.completions.create, kind
        yield "responses", client.responses.create, kind


def anthropic() -> Iterator[tuple[str, Fn, str]]:
    """Return the functions of anthropic's clients."""
    sdk = pytest.importorskip("anthropic")
    for client, kind in ((sdk.Anthropic(api_key="x"), "sync"), (sdk.AsyncAnthropic(api_key="x"), "async")):
        yield "messages", client.messages.create, kind
        yield "messages, raw", client.messages.with_raw_response.create, kind
        yield "messages, streaming", client.messages.stream, "sync"


def instructor() -> Iterator[tuple[str, Fn, str]]:
    """Return the functions of instructor's clients."""
    sdk, of_openai = pytest.importorskip("instructor"), pytest.importorskip("openai")
    for client, kind in ((of_openai.OpenAI(api_key="x"), "sync"), (of_openai.AsyncOpenAI(api_key="x"), "async")):
        yield "create", sdk.from_openai(client).chat.completions.create, kind
        yield "patched", sdk.patch(client).chat.completions.create, kind


def litellm() -> Iterator[tuple[str, Fn, str]]:
    """Return litellm's functions."""
    sdk = pytest.importorskip("litellm")
    yield "completion", sdk.completion, "sync"
    yield "acompletion", sdk.acompletion, "async"
    yield "aresponses", sdk.aresponses, "async"


def ollama() -> Iterator[tuple[str, Fn, str]]:
    """Return ollama's functions."""
    sdk = pytest.importorskip("ollama")
    yield "chat", sdk.chat, "sync"
    yield "async chat", sdk.AsyncClient().chat, "async"
    yield "async generate", sdk.AsyncClient().generate, "async"


def google() -> Iterator[tuple[str, Fn, str]]:
    """Return the functions of google.genai's client."""
    client = pytest.importorskip("google.genai").Client(api_key="x")
    yield "generate_content", client.models.generate_content, "sync"
    yield "async generate_content", client.aio.models.generate_content, "async"


def langchain() -> Iterator[tuple[str, Fn, str]]:
    """Return the functions of a chat model of langchain."""
    models = pytest.importorskip("langchain_core.language_models.fake_chat_models")
    model = models.FakeListChatModel(responses=["x"])
    yield "invoke", model.invoke, "sync"
    yield "ainvoke", model.ainvoke, "async"
    yield "stream", model.stream, "generator"
    yield "astream", model.astream, "generator"


def pydantic_ai() -> Iterator[tuple[str, Fn, str]]:
    """Return the functions of an agent."""
    try:
        from pydantic_ai import Agent
    except ImportError:
        pytest.skip("pydantic_ai cannot be imported")
    agent = Agent("test")
    yield "run", agent.run, "async"
    yield "run_sync", agent.run_sync, "sync"


def tenacity() -> Iterator[tuple[str, Fn, str]]:
    """Return functions that tenacity calls again."""
    retry = pytest.importorskip("tenacity").retry
    yield "async", retry(awaited), "async"
    yield "sync", retry(called), "sync"


def asgiref() -> Iterator[tuple[str, Fn, str]]:
    """Return functions that asgiref makes of others."""
    sdk = pytest.importorskip("asgiref.sync")
    yield "async_to_sync", sdk.async_to_sync(awaited), "sync"
    yield "sync_to_async", sdk.sync_to_async(called), "async"


async def awaited(messages: Any) -> Any:
    """Answer."""


def called(messages: Any) -> Any:
    """Answer."""


SDKS = [openai, anthropic, instructor, litellm, ollama, google, langchain, pydantic_ai, tenacity, asgiref]


@pytest.mark.parametrize("functions", SDKS, ids=lambda sdk: sdk.__name__)
def test_the_functions_of_client_libraries_are_as_their_callers_use_them(functions: Callable[[], Any]) -> None:
    """What is awaited is async, behind the wrappers of a library too, and what is not awaited is sync."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own, at import
        told = [(name, call_kind(fn), kind) for name, fn, kind in functions()]
    assert told
    assert [(name, found) for name, found, _ in told] == [(name, kind) for name, _, kind in told]


def test_a_library_s_wrapper_is_not_where_a_function_is_defined() -> None:
    """Of a function that a library wrapped, the file is the function's, not the library's."""
    tenacity = pytest.importorskip("tenacity")
    assert where_defined(tenacity.retry(functools.lru_cache(awaited))) == (__file__, awaited.__code__.co_firstlineno)


PROMPTS = {"chat": "messages", "completions": "prompt", "generate_content": "contents", "ainvoke": "input"}


@pytest.mark.parametrize("functions", [openai, google, langchain], ids=lambda sdk: sdk.__name__)
def test_the_prompts_of_client_libraries_are_told_by_their_names(functions: Callable[[], Any]) -> None:
    """The functions of client libraries can be cached as they are, unless two of their arguments have usual names."""
    found = {name: checked_prompt(fn, Binder(fn), None) for name, fn, _ in functions() if name in PROMPTS}
    assert found
    assert found == {name: PROMPTS[name] for name in found}


def test_of_an_input_and_a_prompt_neither_is_guessed() -> None:
    """The Responses API takes an ``input`` and a template, the ``prompt``: the error says what to write."""
    create = pytest.importorskip("openai").AsyncOpenAI(api_key="x").responses.create
    with pytest.raises(SignatureMismatchError, match=r"candidates are 'input', 'prompt'.*; pass prompt='input' or"):
        checked_prompt(create, Binder(create), None)
    assert checked_prompt(create, Binder(create), "input") == "input"
