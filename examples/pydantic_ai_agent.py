# pip install -e ".[offline]" "pydantic-ai-slim[openai]" && OPENAI_API_KEY=... python examples/pydantic_ai_agent.py
"""A Pydantic AI agent behind a semantic cache: the function returns the agent's output, and so does a hit."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput

import recallm
from recallm import semantic_cache


class City(BaseModel):
    """What the agent returns."""

    name: str
    country: str


MODEL = "openai:gpt-4o-mini"
INSTRUCTIONS = "Name the city that is meant."
agent = Agent(MODEL, output_type=NativeOutput(City), instructions=INSTRUCTIONS)


# An agent changes as it runs, so it is ignored; what it was made of is named instead.
@semantic_cache(context={"model": MODEL, "instructions": INSTRUCTIONS}, ignore=("agent",))
async def city(question: str) -> City:
    """Return the city that is asked for."""
    return (await agent.run(question)).output


async def main() -> None:
    """Ask in other words."""
    print(repr(await city("What is the capital of Norway?")))
    print(repr(await city("What's the capital of Norway?")))  # from the cache
    print(repr(await city("What is the capital of Sweden?")))  # another country: asks the agent
    print(recallm.stats())


if __name__ == "__main__":
    asyncio.run(main())
