# pip install -e ".[offline]" anthropic && ANTHROPIC_API_KEY=... python examples/anthropic_chat.py
"""Anthropic's SDK behind a semantic cache: an answer of text, and a whole message with its usage."""

from __future__ import annotations

import anthropic
from anthropic.types import Message

import recallm
from recallm import semantic_cache

client = anthropic.Anthropic()


@semantic_cache(context=lambda kw: {"tenant": kw["tenant"]}, ttl=24 * 3600)
def ask(question: str, *, tenant: str, model: str = "claude-sonnet-4-5") -> str:
    """Answer a question of a tenant, for a day."""
    message = client.messages.create(
        model=model,
        max_tokens=1024,
        system=f"You are the support of {tenant}.",
        messages=[{"role": "user", "content": question}],
    )
    return "".join(block.text for block in message.content if block.type == "text")


@semantic_cache(context={})
def create(messages: list[dict[str, str]]) -> Message:
    """Return the SDK's own message. A cut-off one (``stop_reason="max_tokens"``) is returned, but not stored."""
    return client.messages.create(model="claude-sonnet-4-5", max_tokens=1024, messages=messages)


def main() -> None:
    """Ask in other words, for another tenant, and of another model."""
    print(ask("How do I reset my password?", tenant="acme"))
    print(ask("How can I reset my password?", tenant="acme"))  # from the cache
    print(ask("How can I reset my password?", tenant="globex"))  # another tenant: asks the model
    print(ask("How can I reset my password?", tenant="acme", model="claude-opus-4-1"))  # another model, too

    for question in ("What is the capital of Norway?", "What's the capital of Norway?"):
        print(create([{"role": "user", "content": question}]).usage)

    print(recallm.stats())


if __name__ == "__main__":
    main()
