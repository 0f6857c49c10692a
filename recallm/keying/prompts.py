"""The prompt of a call: where it stands in the arguments, or what the user's callable makes of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from recallm.concurrency.signals import let_through
from recallm.errors import SignatureMismatchError, a_kind
from recallm.keying.chat import composed, replace_text, take_prompt
from recallm.keying.signature import USUAL_NAMES, Binder
from recallm.keying.stand_ins import PROMPT_PLACEHOLDER
from recallm.keying.standalone import Standalone, remainder
from recallm.records import Bypass, Turn
from recallm.typing import Arguments, History, Prompt

Note: TypeAlias = Callable[[], "str | None"]


def may_be_similar(history: History, prompt: Prompt, binder: Binder) -> bool:
    """Return whether the history of calls may be similar, once it is known that they can be read so.

    Args:
        history: as the user gave it.
        prompt: name of the argument that carries the prompt, or a callable of all arguments.
        binder: binds the function's arguments.

    Raises:
        SignatureMismatchError: there are no messages to take a history, or a last turn, from.
    """
    if isinstance(prompt, Standalone) and prompt.argument not in binder.names and not binder.takes_any_keyword:
        raise SignatureMismatchError(
            f"standalone(..., argument={prompt.argument!r}) names no parameter; "
            f"name the one with the messages: {', '.join(map(repr, binder.order))}"
        )
    if history == "equal":
        return False
    lacking = "prompt= is a callable" if callable(prompt) else ""
    if not lacking and prompt in binder.names and binder.parameters[prompt].annotation in (str, "str"):
        lacking = f"{prompt!r} is a str"
    if lacking:
        raise SignatureMismatchError(
            f"history='similar' needs an argument with messages, and {lacking}; "
            "pass prompt='<the argument with the messages>', or leave history= out"
        )
    return True


class TakenPrompt(NamedTuple):
    """The prompt of a call, and the arguments that count, in which placeholders stand for it.

    Attributes:
        text: the prompt.
        named: the arguments by name.
        extra: those in ``**kwargs``, likewise.
        note: returns what the function's author should know of such calls, if anything; None: nothing.
        history: the turns before the prompt whose texts were taken out, too.
        to_rewrite: what is to be rewritten first, if anything is.
    """

    text: str
    named: dict[str, Any]
    extra: dict[str, Any]
    note: Note | None = None
    history: tuple[Turn, ...] = ()
    to_rewrite: ToRewrite | None = None


class ToRewrite(NamedTuple):
    """A conversation whose last turn is to be rewritten into a question of its own.

    Attributes:
        rewriter: rewrites it.
        messages: the conversation.
        standalone: the call if that succeeds, but for the text.
    """

    rewriter: Standalone
    messages: object
    standalone: TakenPrompt


def take(
    prompt: Prompt, arguments: Arguments, named: dict[str, Any], extra: dict[str, Any], *, with_history: bool
) -> TakenPrompt | Bypass:
    """Take the prompt out of the arguments.

    Args:
        prompt: name of the argument that carries it, or a callable of all arguments.
        arguments: all arguments by name.
        named: those that count; it may be changed.
        extra: those of ``**kwargs`` that count, likewise.
        with_history: whether to take out the texts of earlier turns as well.

    Returns:
        The prompt, or why there is none.
    """
    if not isinstance(prompt, str):
        if isinstance(prompt, Standalone):
            return _take_conversation(prompt, arguments, named, extra)
        return _take_derived(prompt, arguments, named, extra)
    name = prompt
    if name not in named and name not in extra:
        known = [each for each in extra if each in USUAL_NAMES]
        name = known[0] if len(known) == 1 else name
    group = named if name in named else extra
    value = group.get(name)
    if type(value) is str:
        group[name] = PROMPT_PLACEHOLDER
        return TakenPrompt(composed(value), named, extra)
    taken = take_prompt(value, with_history=with_history)
    if taken is None:
        return _no_prompt(name, value)
    group[name] = taken.rest
    return TakenPrompt(taken.text, named, extra, history=taken.history)


def _no_prompt(name: str, value: object) -> Bypass:
    remedy = "pass prompt='<argument>', or prompt=lambda kw: ... that returns the user's text"
    return Bypass("no_prompt", f"{name!r} ({type(value).__qualname__})", remedy)


def _take_conversation(
    prompt: Standalone, arguments: Arguments, named: dict[str, Any], extra: dict[str, Any]
) -> TakenPrompt | Bypass:
    """Take the last turn out of messages, once so that all before it counts and once so that it stands for all turns.

    What the messages hold besides texts of users and assistants counts in both, even if the messages are ignored.
    """
    name = prompt.argument
    value = arguments.get(name)
    taken, without_texts = take_prompt(value), take_prompt(value, with_history=True)
    if taken is None or without_texts is None:
        return _no_prompt(name, value)

    def with_messages(rest: object) -> TakenPrompt:
        if name in extra or name not in named:
            return TakenPrompt(taken.text, named, {**extra, name: rest})
        return TakenPrompt(taken.text, {**named, name: rest}, extra)

    standalone = with_messages(remainder(without_texts.rest))
    if not without_texts.history:
        return standalone
    return with_messages(taken.rest)._replace(to_rewrite=ToRewrite(prompt, value, standalone))


def _take_derived(
    derive: Callable[[Arguments], object], arguments: Arguments, named: dict[str, Any], extra: dict[str, Any]
) -> TakenPrompt | Bypass:
    """Return the text that the user's callable made of the arguments.

    A placeholder takes its place if it stands as it is in one place. If it stands nowhere, or twice, the arguments stay
    whole, and such calls match exactly only.
    """
    text: object = derive(arguments)
    if text is None:
        return Bypass("no_prompt", "prompt= returned None", "")
    if not isinstance(text, str):
        return Bypass("no_prompt", f"prompt= returned {a_kind(text)}", "return a str")
    found: list[object] = []
    text = composed(text)
    in_named, in_extra = (
        {name: replace_text(value, text, found) for name, value in group.items()} for group in (named, extra)
    )
    if len(found) == 1:
        return TakenPrompt(text, in_named, in_extra)
    note = None if found else partial(_what_covers, derive, arguments, {**named, **extra})
    return TakenPrompt(text, named, extra, note)


def _what_covers(derive: Callable[[Arguments], object], arguments: Arguments, counted: Collection[str]) -> str | None:
    """Return what to tell of a derived prompt that stands in no argument; None: it depends on none that counts."""
    texts = [name for name in counted if isinstance(arguments.get(name), str)]
    whole = tuple(name for name in texts if _MARK in (_derived(derive, {**arguments, name: _LONG + _MARK}) or ""))
    text = _derived(derive, arguments)
    others = {name: _derived(derive, {**arguments, name: _MARK}) for name in texts if name not in whole}
    part = [name for name, other in others.items() if other not in (None, text)]
    unknown = tuple(name for name, other in others.items() if other is None)
    if unknown:
        return (
            "the text that prompt= returns stands in no argument as it is, so calls match exactly only; if nothing "
            f"else of {', '.join(map(repr, unknown))} decides the answer, pass ignore={unknown!r}"
        )
    if part:
        return (
            f"the text that prompt= returns is only a part of {', '.join(map(repr, part))}, so calls match exactly "
            "only; return the whole text"
        )
    if whole:
        return (
            f"the text that prompt= returns stands in no argument as it is, so calls match exactly only; as it holds "
            f"all of {', '.join(map(repr, whole))}, pass ignore={whole!r}"
        )
    return None


_MARK = "qzjxkv"
_LONG = "x" * 50_000
"""What is put in place of an argument, to see whether a derived prompt holds all of it."""


def _derived(derive: Callable[[Arguments], object], arguments: Arguments) -> str | None:
    try:
        return str(derive(arguments)).casefold()
    except Exception as error:  # noqa: BLE001  # the user's callable expects something else there
        let_through(error)
        return None
