"""Prompts that stand alone: the last turn of a conversation, rewritten so that the turns before it need not count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Any

from recallm import checks
from recallm.concurrency.memo import Memo
from recallm.keying.chat import is_message, is_pair, members
from recallm.keying.stand_ins import PROMPT_PLACEHOLDER, PromptPlaceholder, Replaced, Rewritten
from recallm.typing import Arguments, Seconds

MEMO_BYTES = 4 << 20
"""How much memory the latest questions take: some 15,000."""

QUESTION_BYTES = 250
"""What a question in memory takes besides its characters: a key, tuples, its place in a table."""


@dataclass(frozen=True, slots=True, eq=False)
class Standalone:
    """Rewrites last turns into questions of their own; see `standalone`, which makes it.

    Attributes:
        rewrite: the user's callable: the messages → a question, or None if it can make none.
        argument: name of the argument that carries the messages.
        timeout: seconds that one rewriting may take.
        memo_bytes: how much memory the latest questions take.
    """

    rewrite: Callable[[Any], Any]
    argument: str
    timeout: float
    memo_bytes: int
    _memo: Memo[bytes, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_memo", Memo(self.memo_bytes))

    def __call__(self, arguments: Arguments) -> Any:
        """Return what `rewrite` makes of the messages of one call, to try it out; calls of the cache remember it."""
        return self.rewrite(arguments[self.argument])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rewrite, self.argument, self.timeout, self.memo_bytes)

    def known(self, key: bytes) -> str | None:
        """Return the question that the conversation of this digest was rewritten into lately, if it was."""
        return self._memo.get(key)

    def remember(self, key: bytes, question: str) -> None:
        """Keep the question that the conversation of this digest was rewritten into."""
        self._memo.put(key, question, QUESTION_BYTES + getsizeof(question))


def settled(question: object) -> str | None:
    """Return a question as `rewrite` returned it; None if it made none.

    Raises:
        InvalidTypeError: it is neither a str nor None.
    """
    text = checks.optional_text(question, "what rewrite returned", of_call=True)
    return text if text is not None and text.strip() else None


def standalone(
    rewrite: Callable[[Any], Any],
    *,
    timeout: Seconds = 2.0,
    argument: str = "messages",
    memo_bytes: int = MEMO_BYTES,
) -> Standalone:
    """Return a ``prompt=`` by which calls match on the last turn rewritten into a question of its own.

    "And in winter?" means nothing without the turns before it, so by default these must be equal, which those of two
    users seldom are. Rewritten as "What is the weather like in Oslo in winter?", by a small model for instance, the
    turn says all that the answer depends on, and neither the texts nor the number of earlier turns count. All else in
    the messages still must be equal: the system prompt, tool calls and their results, images. So must the other
    arguments.

    A conversation is rewritten once as long as it is remembered, and not at all if there is but one turn. If `rewrite`
    raises, takes too long or returns nothing, the call matches as it does without this option: the history must be
    equal. Only whoever invalidates a call is told, as an answer to the question may then still be there.

    `rewrite` gets a list of its own, if the messages are one, and may call the cached function itself: that call is not
    rewritten. If it calls another one that is cached, that one should match exactly only. Answers stay when `rewrite`
    changes; clear the cache if the questions it made were wrong.

    Args:
        rewrite: ``(messages) -> str``, sync or async; None or an empty text: it can make no question of them. What it
            leaves out does not count, so it should name all that the turns before say of the question.
        timeout: seconds or timedelta that one rewriting may add to a call.
        argument: name of the argument that carries the messages. It may be named in ``ignore=`` too, which changes
            nothing.
        memo_bytes: how much memory the latest questions may take.

    Raises:
        InvalidTypeError: `rewrite` cannot be called, or another argument has the wrong type.
        InvalidValueError: an argument has a value that is not allowed.

    >>> prompt = standalone(lambda messages: " ".join(each["content"] for each in messages))
    >>> prompt({"messages": [{"role": "user", "content": "Hi."}, {"role": "user", "content": "Why?"}]})
    'Hi. Why?'
    """
    checks.required_callable(rewrite, "rewrite", use="use a callable of the messages that returns a str")
    return Standalone(
        rewrite,
        checks.text(argument, "argument"),
        checks.seconds(timeout, "timeout"),
        checks.positive_int(memo_bytes, "memo_bytes"),
    )


def remainder(rest: object) -> object:
    """Return what still counts of messages whose texts were taken out: all but the messages that were only text.

    Where the last turn stands among the others still counts: results of tools before it are no answer to it.

    Args:
        rest: what `recallm.keying.chat.take_prompt` left of them.
    """
    if not isinstance(rest, Replaced):
        return rest
    if not isinstance(rest.value, list | tuple):
        inner = rest.changes.get("messages")
        return rest if inner is None else Replaced(rest.value, {**rest.changes, "messages": remainder(inner)})
    if not any(map(is_message, rest.value)):
        return rest
    last = max(rest.changes)
    kept = ((at, rest.changes.get(at, item)) for at, item in enumerate(rest.value))
    stripped = ((at, PROMPT_PLACEHOLDER if _is_only_text(item) else item) for at, item in kept)
    return Rewritten(tuple(item for at, item in stripped if at == last or item is not PROMPT_PLACEHOLDER))


_TOLD = frozenset(
    "role type kind part_kind id status timestamp response_metadata usage_metadata usage model_name provider_name "
    "provider_details provider_response_id finish_reason run_id".split()
)
"""What a message may say of its text without adding to it."""


def _is_only_text(rest: object) -> bool:
    """Return whether nothing is left of a message, or of a part of one, but where its text was."""
    if isinstance(rest, PromptPlaceholder):
        return True
    if not isinstance(rest, Replaced):
        return False
    if isinstance(rest.value, str):
        return True
    return all(
        _is_only_text(rest.changes[name])
        if name in rest.changes
        else name in _TOLD or _is_empty(item) or (name == 0 and is_pair(rest.value))
        for name, item in members(rest.value).items()
    )


def _is_empty(item: object) -> bool:
    """Return whether an attribute adds nothing, such as None, or ``{"refusal": None}`` among those of a library."""
    if type(item) is dict:
        return not any(type(value) not in _VALUES or value for value in item.values())
    return item is None or item is False or (type(item) in (str, list, tuple) and not item)


_VALUES = (type(None), bool, str, list, dict, tuple)
"""Types whose values are false if there is nothing to say; a number 0 may say something."""
