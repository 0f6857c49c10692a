"""Conversations as text: what an entry keeps as its prompt if the history may be similar."""

from __future__ import annotations

import json
from collections.abc import Sequence

from recallm.records import Turn

ROLES = ("user", "assistant")


def written(history: Sequence[Turn], prompt: str) -> str:
    """Return a conversation as JSON: its earlier turns and its prompt, the text of the last user message.

    Equal conversations, and no others, are written alike.

    >>> written([Turn("user", "Who wrote Emma?"), Turn("assistant", "Jane Austen.")], "When?")
    '[["user","Who wrote Emma?"],["assistant","Jane Austen."],["user","When?"]]'
    """
    return json.dumps([*history, Turn("user", prompt)], ensure_ascii=False, separators=(",", ":"))


def read(conversation: str) -> tuple[Turn, ...] | None:
    """Return the turns of a conversation, the prompt last; None if the text is none, as any may come from a storage.

    >>> read('[["user","When?"]]')
    (Turn(role='user', text='When?'),)
    >>> read("When?") is None
    True
    """
    try:
        turns = [Turn(role, text) for role, text in json.loads(conversation)]
    except (ValueError, TypeError, RecursionError):
        return None
    if not turns or turns[-1].role != "user":
        return None
    return tuple(turns) if all(turn.role in ROLES and isinstance(turn.text, str) for turn in turns) else None
