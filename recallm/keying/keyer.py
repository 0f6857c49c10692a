"""From a call to what it asks for: the prompt taken out, everything else turned into a digest."""

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
    """What a cacheable call asks for, before it is known which model embeds its prompt.

    Attributes:
        text: the prompt.
        namespace: where its entry is kept.
        exact: everything else that the answer depends on, as bytes that must be equal.
        ttl: seconds until its entry expires; None: never.
        context: the call's cache context, for advice and recordings; `exact` covers it.
    """

    text: str
    namespace: str
    exact: bytes
    ttl: float | None
    context: Mapping[Any, Any]

    def query(self, model_id: str) -> Query:
        """Return the query for a storage, under digests that no entry of another embedding model has."""
        partition = blake2b(length_prefixed(b"P", [model_id.encode(), self.exact]), digest_size=20)
        key = partition.copy()
        key.update(self.text.encode("utf-8", "surrogatepass"))
        return Query(self.text, self.namespace, partition.hexdigest(), key.hexdigest())


@dataclass(frozen=True, slots=True)
class Keyer:
    """Turns the calls of one function into requests.

    Args:
        binder: binds the function's arguments.
        identity: returns the function's identity as it is now.
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
        """Return what a call asks for, or why the cache stands aside.

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
            return self._request_of(*bound, options)
        except (InvalidTypeError, InvalidValueError, MissingContextError):
            raise
        except Exception as error:  # noqa: BLE001  # a user's callable or value failed: the call must go on
            return Failure("keying", error)

    def _request_of(self, named: dict[str, Any], extra: dict[str, Any], options: Mapping[str, Any]) -> Request | Bypass:
        arguments = {**extra, **named} if extra else dict(named)
        context = self._context_of(arguments, options)
        namespace = self._namespace_of(arguments, options)
        ttl = checks.ttl(options["cache_ttl"], "cache_ttl") if "cache_ttl" in options else self.ttl
        if arguments.get("stream"):
            return Bypass("stream")
        named, extra = self._without_ignored(named), self._without_ignored(extra)
        text = self._take_prompt(arguments, named, extra)
        if text is None:
            return Bypass("no_prompt")
        try:
            parts = (
                self.identity().digest,
                namespace.encode("utf-8", "surrogatepass"),
                canonical_mapping(context),
                canonical_mapping(extra) if extra else b"",
                # Names are fixed by the signature, so values in signature order suffice; an ignored
                # argument contributes b"" to keep the positions.
                *[canonical(named[name]) if name in named else b"" for name in self.binder.order],
            )
        except UnfingerprintableError:
            return Bypass("unfingerprintable", _unfingerprintable({"cache_context": context}, named, extra))
        return Request(text, namespace, length_prefixed(b"Q", parts), ttl, context)

    def _context_of(self, arguments: Arguments, options: Mapping[str, Any]) -> Mapping[Any, Any]:
        at_call = options.get("cache_context")
        own = self.context(arguments) if callable(self.context) else self.context
        if at_call is None:
            if self.context is None:
                raise MissingContextError(
                    "this call has no cache context; pass cache_context={...} with what the answer depends on "
                    "(user, document, tenant), or context= at decoration; {} says that it depends on nothing"
                )
            return _checked_context(own, "context")
        _checked_context(at_call, "cache_context")
        return at_call if self.context is None else {**_checked_context(own, "context"), **at_call}

    def _namespace_of(self, arguments: Arguments, options: Mapping[str, Any]) -> str:
        name = options.get("cache_namespace")
        if name is None:
            name = self.namespace(arguments) if callable(self.namespace) else self.namespace
        return checks.text(name, "cache_namespace")

    def _without_ignored(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if self.ignore.isdisjoint(arguments):
            return arguments
        return {name: value for name, value in arguments.items() if name not in self.ignore}

    def _take_prompt(self, arguments: Arguments, named: dict[str, Any], extra: dict[str, Any]) -> str | None:
        """Return the prompt, or None if there is none; a placeholder takes its place in `named` or `extra`."""
        if callable(self.prompt):
            return self._take_derived_prompt(self.prompt(arguments), named, extra)
        group = named if self.prompt in named else extra
        value = group.get(self.prompt)
        if isinstance(value, str):
            group[self.prompt] = PROMPT_PLACEHOLDER
            return value
        split = split_chat(value) if is_chat(value) else None
        if split is None:
            return None
        text, group[self.prompt] = split
        return text

    def _take_derived_prompt(self, text: object, named: dict[str, Any], extra: dict[str, Any]) -> str | None:
        """Return the text that the user's callable made of the arguments, or None if it is no text.

        A placeholder takes its place if it stands as it is in one place. If it stands nowhere, or twice, the arguments
        stay whole, and such calls match exactly only.
        """
        if not isinstance(text, str):
            return None
        found: list[object] = []
        replaced = [with_placeholder(group, text, found) for group in (named, extra)]
        if len(found) == 1:
            for group, replacement in zip((named, extra), replaced, strict=True):
                group.update(cast("dict[str, Any]", replacement))
        return text


def _checked_context(context: Any, source: str) -> Mapping[Any, Any]:
    if not isinstance(context, Mapping):
        raise InvalidTypeError(
            f"{source} gave a {type(context).__name__}; it must be a mapping such as {{'user_id': ...}}"
        )
    return context


def _unfingerprintable(*groups: Mapping[str, Any]) -> str:
    """Return the name of the first argument without a canonical form."""
    for name, value in (item for group in groups for item in group.items()):
        try:
            canonical(value)
        except UnfingerprintableError:
            return name
    return "arguments"
