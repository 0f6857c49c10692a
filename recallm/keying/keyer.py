"""From a call to what it asks for: the prompt taken out, all the rest digested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from recallm import checks
from recallm.errors import InvalidTypeError, InvalidValueError, MissingContextError, UnfingerprintableError
from recallm.keying.canonical import PROMPT_PLACEHOLDER, canonical, canonical_mapping, length_prefixed
from recallm.keying.chat import is_chat, split_chat, with_placeholder
from recallm.keying.identity import Identity
from recallm.keying.signature import Binder
from recallm.records import Bypass, Failure, Query
from recallm.typing import Arguments, Context, Namespace, Prompt

CALL_OPTIONS = frozenset({"cache_context", "cache_namespace", "cache_ttl"})


class Request(NamedTuple):
    """A cacheable call, before it is known which model embeds its prompt."""

    text: str
    namespace: str
    exact: bytes
    ttl: float | None
    context: Mapping[Any, Any]

    def query(self, model_id: str) -> Query:
        """Return what to look for among the entries of one model."""
        partition = blake2b(length_prefixed(b"P", [model_id.encode(), self.exact]), digest_size=20)
        key = partition.copy()
        key.update(self.text.encode("utf-8", "surrogatepass"))
        return Query(self.text, self.namespace, partition.hexdigest(), key.hexdigest())


@dataclass(frozen=True, slots=True)
class Keyer:
    """Reads the calls of one function.

    Args:
        binder: binds the function's arguments.
        identity: tells the function, as it is now, from all others.
        prompt: name of the argument that carries the prompt, or a callable of all arguments.
        context: mapping, or callable of all arguments that returns one; None: every call must bring its own.
        namespace: name, or callable of all arguments that returns one.
        ignore: names of arguments that do not affect the answer.
        ttl: seconds until an entry expires; None: never.
    """

    binder: Binder
    identity: Callable[[], Identity]
    prompt: Prompt
    context: Context | None
    namespace: Namespace
    ignore: frozenset[str]
    ttl: float | None

    def split_options(self, kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the call-time options and the keyword arguments that are the function's own."""
        if CALL_OPTIONS.isdisjoint(kwargs):
            return {}, kwargs
        options = {name: kwargs[name] for name in CALL_OPTIONS if name in kwargs}
        own = {name: value for name, value in kwargs.items() if name not in options or name in self.binder.names}
        return options, own

    def request(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Request | Bypass | Failure:
        """Return what one call asks for, or why the cache stands aside.

        Args:
            args: positional arguments, ``self`` included.
            kwargs: keyword arguments, without the call-time options.
            options: the call-time options.

        Raises:
            MissingContextError: neither the decorator nor the call gives a context.
            InvalidTypeError: the context is not a mapping, or the namespace or ttl has the wrong type.
            InvalidValueError: the ttl or namespace has a value that is not allowed.
        """
        bound = self.binder.bind(args, kwargs)
        if bound is None:
            return Bypass("arguments")
        try:
            return self._read(*bound, options)
        except (InvalidTypeError, InvalidValueError, MissingContextError):
            raise
        except Exception as error:  # noqa: BLE001  # a user's callable or value failed: the call must go on
            return Failure("keying", error)

    def _read(self, named: dict[str, Any], extra: dict[str, Any], options: Mapping[str, Any]) -> Request | Bypass:
        view = {**extra, **named} if extra else dict(named)
        context = self._context(view, options)
        namespace = self._namespace(view, options)
        ttl = checks.ttl(options["cache_ttl"], "cache_ttl") if "cache_ttl" in options else self.ttl
        if view.get("stream"):
            return Bypass("stream")
        named, extra = self._without_ignored(named), self._without_ignored(extra)
        text = self._take_prompt(view, named, extra)
        if text is None:
            return Bypass("no_prompt")
        try:
            parts = (
                self.identity().digest,
                namespace.encode("utf-8", "surrogatepass"),
                canonical_mapping(context),
                canonical_mapping(extra) if extra else b"",
                # The names are the function's own, always the same: their values in order tell all.
                # An ignored one keeps its place, so that it is not mistaken for the next.
                *[canonical(named[name]) if name in named else b"" for name in self.binder.order],
            )
        except UnfingerprintableError:
            return Bypass("unfingerprintable", _culprit({"cache_context": context}, named, extra))
        return Request(text, namespace, length_prefixed(b"Q", parts), ttl, context)

    def _context(self, view: Arguments, options: Mapping[str, Any]) -> Mapping[Any, Any]:
        at_call = options.get("cache_context")
        own = self.context(view) if callable(self.context) else self.context
        if at_call is None:
            if self.context is None:
                raise MissingContextError(
                    "this call has no cache context; pass cache_context={...} with what the answer depends on "
                    "(user, document, tenant), or context= at decoration; {} says that it depends on nothing"
                )
            return _checked_context(own, "context")
        _checked_context(at_call, "cache_context")
        return at_call if self.context is None else {**_checked_context(own, "context"), **at_call}

    def _namespace(self, view: Arguments, options: Mapping[str, Any]) -> str:
        name = options.get("cache_namespace")
        if name is None:
            name = self.namespace(view) if callable(self.namespace) else self.namespace
        return checks.text(name, "cache_namespace")

    def _without_ignored(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if self.ignore.isdisjoint(arguments):
            return arguments
        return {name: value for name, value in arguments.items() if name not in self.ignore}

    def _take_prompt(self, view: Arguments, named: dict[str, Any], extra: dict[str, Any]) -> str | None:
        """Return the prompt, and leave a hole where it was in the arguments."""
        if callable(self.prompt):
            return self._derived_prompt(view, named, extra)
        arguments = named if self.prompt in named else extra
        value = arguments.get(self.prompt)
        if isinstance(value, str):
            arguments[self.prompt] = PROMPT_PLACEHOLDER
            return value
        split = split_chat(value) if value is not None and is_chat(value) else None
        if split is None:
            return None
        text, arguments[self.prompt] = split
        return text

    def _derived_prompt(self, view: Arguments, named: dict[str, Any], extra: dict[str, Any]) -> str | None:
        """Return what the user's callable makes of the arguments.

        The one place where the text stands as it is becomes a hole. A text that stands nowhere, or
        twice, leaves the arguments whole: such calls match exactly only.
        """
        text = cast("Callable[[Arguments], str | None]", self.prompt)(view)
        if not isinstance(text, str):
            return None
        found: list[object] = []
        holed = [with_placeholder(arguments, text, found) for arguments in (named, extra)]
        if len(found) == 1:
            for arguments, replacement in zip((named, extra), holed, strict=True):
                arguments.update(cast("dict[str, Any]", replacement))
        return text


def _checked_context(context: Any, source: str) -> Mapping[Any, Any]:
    if not isinstance(context, Mapping):
        raise InvalidTypeError(
            f"{source} gave a {type(context).__name__}; it must be a mapping such as {{'user_id': ...}}"
        )
    return context


def _culprit(*groups: Mapping[str, Any]) -> str:
    """Return the name of the first argument without a canonical form."""
    for name, value in (item for group in groups for item in group.items()):
        try:
            canonical(value)
        except UnfingerprintableError:
            return name
    return "arguments"
