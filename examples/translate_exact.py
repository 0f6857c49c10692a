# pip install -e ".[offline]" openai && OPENAI_API_KEY=... python examples/translate_exact.py
"""Text that is data (to translate, to embed, to classify) is matched exactly: no model embeds it, nothing is near."""

from __future__ import annotations

import openai

import recallm
from recallm import semantic_cache

client = openai.OpenAI()


@semantic_cache(threshold="exact", context={})
def translate(text: str, *, language: str) -> str | None:
    """Translate a text."""
    prompt = f"Translate into {language}, and say nothing else:\n\n{text}"
    messages = [{"role": "user", "content": prompt}]
    return client.chat.completions.create(model="gpt-4o-mini", messages=messages).choices[0].message.content


def main() -> None:
    """Translate the same text twice, and texts that differ a little."""
    print(translate("Good morning!", language="German"))
    print(translate("Good morning!", language="German"))  # from the cache
    print(translate("Good morning.", language="German"))  # another text
    print(translate("Good morning!", language="French"))  # another language
    print(recallm.stats())


if __name__ == "__main__":
    main()
