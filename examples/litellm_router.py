# pip install -e ".[offline]" litellm && OPENAI_API_KEY=... python examples/litellm_router.py
"""LiteLLM's router behind a semantic cache: what is cached is asked of no deployment at all."""

from __future__ import annotations

import asyncio

from litellm import Router

import recallm
from recallm import semantic_cache

router = Router(
    model_list=[
        {"model_name": "chat", "litellm_params": {"model": "openai/gpt-4o-mini"}},
        {"model_name": "chat", "litellm_params": {"model": "openai/gpt-4.1-mini"}},
    ]
)


# The router counts its calls and failures: what it holds must not count, as it is another at each call.
@semantic_cache(context=lambda kw: {"team": kw["team"]}, ignore=("router",))
def ask(question: str, *, team: str, model: str = "chat") -> str | None:
    """Answer a question of a team, by whichever deployment of the model is free."""
    reply = router.completion(model=model, messages=[{"role": "user", "content": question}], user=team)
    return reply.choices[0].message.content


@semantic_cache(context={}, ignore=("router",))
async def complete(messages: list[dict[str, str]]) -> str | None:
    """Answer a conversation."""
    reply = await router.acompletion(model="chat", messages=messages)
    return reply.choices[0].message.content


async def converse() -> None:
    """Ask at once what is the same: one call is made, the others wait for it."""
    asked = [{"role": "user", "content": "What is the capital of Norway?"}]
    print(await asyncio.gather(complete(asked), complete(asked), complete(asked)))


def main() -> None:
    """Ask in other words, and for another team."""
    print(ask("How do I reset my password?", team="red"))
    print(ask("How can I reset my password?", team="red"))  # from the cache
    print(ask("How can I reset my password?", team="blue"))  # another team: asks the model
    asyncio.run(converse())
    print(recallm.stats())


if __name__ == "__main__":
    main()
