"""The methods by which LangChain and Pydantic AI are called. See `sdk_rows`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from typing import Any

from support.sdk_rows import FUNCTION, Ask, Call, Row, look_up, openai_options


def langchain_model(url: str, other: str) -> Any:
    """Return LangChain's chat model of OpenAI."""
    from langchain_openai import ChatOpenAI

    model = "gpt-4.1" if other == "model" else "gpt-4o"
    temperature = 0.5 if other == "temperature" else None
    return ChatOpenAI(model=model, temperature=temperature, **openai_options(url, other))


def langchain_method(name: str, url: str, other: str) -> Callable[..., Any]:
    """Return a method of LangChain's chat model."""
    method: Callable[..., Any] = getattr(langchain_model(url, other), name)
    return method


def langchain_chain(name: str, url: str, other: str) -> Callable[..., Any]:
    """Return a method of a chain of a prompt and a chat model."""
    from langchain_core.prompts import ChatPromptTemplate

    start = "Be kind. " if other == "prompt" else ""
    prompt = ChatPromptTemplate.from_messages([("system", start + "{manner}"), ("human", "{question}")])
    method: Callable[..., Any] = getattr(prompt | langchain_model(url, other), name)
    return method


def _varied(ask: Ask) -> dict[str, Any]:
    tools = {"tools": [{"type": "function", "function": FUNCTION}]} if ask.tools else {}
    return {"model": ask.model, "temperature": ask.temperature, **tools}


def langchain_text(ask: Ask) -> Call:
    """Return the arguments of a chat model for a text."""
    return Call((ask.question,), _varied(ask))


def langchain_messages(ask: Ask) -> Call:
    """Return the arguments of a chat model for messages."""
    from langchain_core.messages import HumanMessage, SystemMessage

    return Call(([SystemMessage(ask.system), HumanMessage(ask.question)],), _varied(ask))


def langchain_tuples(ask: Ask) -> Call:
    """Return the arguments of a chat model for messages that are pairs of a role and a text."""
    return Call(([("system", ask.system), ("human", ask.question)],), _varied(ask))


def langchain_prompt_value(ask: Ask) -> Call:
    """Return the arguments of a chat model for what a prompt template makes."""
    from langchain_core.prompts import ChatPromptTemplate

    template = ChatPromptTemplate.from_messages([("system", "{system}"), ("human", "{question}")])
    return Call((template.invoke({"system": ask.system, "question": ask.question}),), _varied(ask))


def chain_input(ask: Ask) -> Call:
    """Return the arguments of a chain."""
    return Call(({"manner": ask.system, "question": ask.question},), {})


def langchain_rows() -> Iterator[Row]:
    """Yield the rows of LangChain."""
    for name, streams_by in (("invoke", "stream"), ("ainvoke", "astream")):
        row = partial(Row, package="langchain_openai", text=attrgetter("content"), asynchronous=name == "ainvoke",
                      streams_by=streams_by)  # fmt: skip
        model = partial(row, make=partial(langchain_method, name), others=("base_url", "model", "temperature"),
                        changes=("model", "system", "temperature", "tools"))  # fmt: skip
        last = {"prompt": lambda kw: getattr(kw["input"], "messages", kw["input"])[-1].content}
        pair = {"prompt": lambda kw: kw["input"][-1][1]}
        yield model(f"ChatOpenAI().{name}(str)", arguments=langchain_text, changes=("model", "temperature", "tools"),
                    options={"prompt": "input"})  # fmt: skip
        yield model(f"ChatOpenAI().{name}([SystemMessage, HumanMessage])", arguments=langchain_messages, options=last)
        yield model(f"ChatOpenAI().{name}([(role, text), ...])", arguments=langchain_tuples, options=pair)
        yield model(f"ChatOpenAI().{name}(prompt value)", arguments=langchain_prompt_value, options=last)
        yield row(f"(prompt | ChatOpenAI()).{name}({{...}})", make=partial(langchain_chain, name),
                  arguments=chain_input, changes=("system",), others=("base_url", "model", "temperature", "prompt"),
                  options={"prompt": lambda kw: kw["input"]["question"]})  # fmt: skip


def pydantic_ai_model(url: str, other: str) -> Any:
    """Return Pydantic AI's chat model of OpenAI."""
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = AsyncOpenAI(**openai_options(url, other))
    return OpenAIChatModel("gpt-4.1" if other == "model" else "gpt-4o", provider=OpenAIProvider(openai_client=client))


def pydantic_ai_method(name: str, url: str, other: str) -> Callable[..., Any]:
    """Return a method of an agent of Pydantic AI."""
    from pydantic_ai import Agent

    prompt = "Be kind." if other == "system_prompt" else "Be exact."
    os.environ["OPENAI_BASE_URL"] = f"{url}/v1"
    os.environ["OPENAI_API_KEY"] = "key"
    agent = Agent(pydantic_ai_model(url, other), system_prompt=prompt, retries=0)
    method: Callable[..., Any] = getattr(agent, name)
    return method


def agent_question(ask: Ask) -> Call:
    """Return the arguments of an agent's run; a model is named only if it is not the agent's."""
    from pydantic_ai import FunctionToolset
    from pydantic_ai.settings import ModelSettings

    changed: dict[str, Any] = {"toolsets": [FunctionToolset([look_up])]} if ask.tools else {}
    if ask.model != Ask().model:
        changed["model"] = f"openai:{ask.model}"
    settings = ModelSettings(temperature=ask.temperature)
    return Call((ask.question,), {"instructions": ask.system, "model_settings": settings, **changed})


def pydantic_ai_rows() -> Iterator[Row]:
    """Yield the rows of Pydantic AI."""
    for name in ("run_sync", "run"):
        yield Row(f"Agent().{name}", "pydantic_ai", partial(pydantic_ai_method, name), agent_question,
                  attrgetter("output"), changes=("model", "system", "temperature", "tools"),
                  others=("base_url", "model", "system_prompt"), asynchronous=name == "run",
                  streams_by="run_stream", live=("tools",), options={"prompt": "user_prompt"})  # fmt: skip
