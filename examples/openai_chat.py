# pip install -e ".[offline]" openai && OPENAI_API_KEY=... python examples/openai_chat.py
"""OpenAI's SDK behind a semantic cache: a helper, an async chat, structured output, and tools."""

from __future__ import annotations

import asyncio

import openai
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

import recallm
from recallm import SemanticCache, semantic_cache

MODEL = "gpt-4o-mini"
client = openai.OpenAI()
async_client = openai.AsyncOpenAI()


@semantic_cache(context=lambda kw: {"user_id": kw["user_id"]})
def answer(question: str, *, user_id: str) -> str | None:
    """Answer a customer. Another user, model or system prompt never gets this answer."""
    messages = [
        {"role": "system", "content": f"You are the support of a web shop. The customer is {user_id}."},
        {"role": "user", "content": question},
    ]
    return client.chat.completions.create(model=MODEL, messages=messages).choices[0].message.content


@semantic_cache(context={})
async def chat(messages: list[dict[str, str]]) -> str | None:
    """Go on with a conversation: its last turn may be similar, all the turns before it must be equal."""
    reply = await async_client.chat.completions.create(model=MODEL, messages=messages)
    return reply.choices[0].message.content


class Recipe(BaseModel):
    """What the model fills in."""

    title: str
    steps: list[str]


@semantic_cache(context={})
def recipe(question: str) -> Recipe | None:
    """Return structured output; a hit is a `Recipe`, too."""
    messages = [{"role": "user", "content": question}]
    reply = client.chat.completions.parse(model=MODEL, messages=messages, response_format=Recipe)
    return reply.choices[0].message.parsed


LOOK_UP_ORDER = {
    "type": "function",
    "function": {
        "name": "look_up_order",
        "parameters": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
    },
}

# The SDK's own method, wrapped as it is: the tools must be equal, and the tool that was chosen is served again.
create = SemanticCache(name="tools").wrap(client.chat.completions.create, context={})


def choose_tool(question: str) -> str:
    """Return the arguments of the tool that the model chose; call your tool with them, as its answer may change."""
    reply: ChatCompletion = create(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        tools=[LOOK_UP_ORDER],
        tool_choice={"type": "function", "function": {"name": "look_up_order"}},
    )
    calls = reply.choices[0].message.tool_calls
    return calls[0].function.arguments if calls else "no tool"


def main() -> None:
    """Ask each of them twice, in other words the second time."""
    print(answer("How do I reset my password?", user_id="ada"))
    print(answer("How can I reset my password?", user_id="ada"))  # from the cache
    print(answer("How can I reset my password?", user_id="bob"))  # another user: asks the model

    history = [{"role": "user", "content": "What is Oslo?"}, {"role": "assistant", "content": "A city in Norway."}]
    for question in ("What is the weather like in winter?", "What's the weather like in winter?"):
        print(asyncio.run(chat([*history, {"role": "user", "content": question}])))

    for question in ("How do I bake an apple pie?", "How can I bake an apple pie?"):
        print(repr(recipe(question)))

    for question in ("Where is my order 1234?", "Where's my order 1234?", "Where is my order 1235?"):
        print(choose_tool(question))

    print(recallm.stats())


if __name__ == "__main__":
    main()
