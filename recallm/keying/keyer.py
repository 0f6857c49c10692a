"""From a call to what it asks for: the prompt taken out, everything else turned into a digest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from inspect import iscoroutine
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from recallm import checks
from recallm.concurrency.signals import let_through
from recallm.errors import InvalidTypeError, InvalidValueError, MissingContextError, a_kind, contained
from recallm.keying.chat import composed
from recallm.keying.containers import mapping_form
from recallm.keying.conversation import written
from recallm.keying.identity import Identity
from recallm.keying.ignoring import Ignore, without
from recallm.keying.live import is_live
from recallm.keying.objects import layout, named_values
from recallm.keying.prompts import Note, ToRewrite, take
from recallm.keying.reader import Reader, UnreadableError, encoded, length_prefixed, type_path
from recallm.keying.signature import Binder
from recallm.keying.stand_ins import Replaced
from recallm.keying.standalone import Standalone
from recallm.records import Bypass, Failure, Query, Turn
from recallm.typing import SERVES, Arguments, CallServe, Context, Namespace, Prompt, Serve, SkipIf, Ttl

CALL_OPTIONS = frozenset({"cache_context", "cache_namespace", "cache_ttl", "cache_serve"})
CALL_SERVES = (*SERVES, "refresh", "off")


class Rewriting(NamedTuple):
    """A last turn that is to be rewritten into a question of its own, if that succeeds.

    Attributes:
        rewriter: rewrites it.
        messages: the conversation.
        key: digest of the conversation.
        instead: what the call asks for if it succeeds, but for the text.
    """

    rewriter: Standalone
    messages: object
    key: bytes
    instead: Request


class Request(NamedTuple):
    """What a cacheable call asks for, before it is known which model embeds its prompt.

    Attributes:
        text: the prompt.
        namespace: where its entry is kept.
        exact: everything else that the answer depends on, as bytes that must be equal.
        ttl: seconds until its entry expires, or what returns that of a response; None: never.
        contexts: the contexts that the decorator and the call gave; `exact` covers them.
        parts: what `exact` consists of: the function, the namespace, the contexts, ``**kwargs``, each argument.
        named: the arguments by name, with placeholders; `exact` covers them.
        extra: the arguments in ``**kwargs`` by name, likewise.
        function: by name, digests of what the function depends on.
        note: returns what the function's author should know of such calls, if anything; None: nothing.
        history: the turns before the prompt, if they may be similar too; None: `exact` covers them.
        rewriting: how to come to a better request first; this one is for when that fails. None: there is none.
        arguments: all arguments by name, as the call gave them.
        serve: what the call itself says that it may be served; None: nothing.
        unrewritten: the request that this one was rewritten from; None: it was not.
    """

    text: str
    namespace: str
    exact: bytes
    ttl: Ttl | None
    contexts: tuple[Mapping[Any, Any] | None, ...] = ()
    parts: tuple[bytes, ...] = ()
    named: Mapping[str, Any] = MappingProxyType({})
    extra: Mapping[str, Any] = MappingProxyType({})
    function: Mapping[str, bytes] = MappingProxyType({})
    note: Note | None = None
    history: tuple[Turn, ...] | None = None
    rewriting: Rewriting | None = None
    arguments: Mapping[str, Any] = MappingProxyType({})
    serve: Serve | Literal["refresh"] | None = None
    unrewritten: Request | None = None

    @property
    def prompt(self) -> str:
        """All of the call that may be similar, as text."""
        return self.text if self.history is None else written(self.history, self.text)

    def query(self, model_id: str) -> Query:
        """Return the query for a storage, under digests that no entry of another embedding model has.

        Nor has one that was made while the history had to be equal, if it may be similar here, or the reverse.
        """
        conversation = None if self.history is None else self.prompt
        tag = b"P" if conversation is None else b"H"
        digested = _partition if len(self.exact) <= _REMEMBERED_BYTES else _partition.__wrapped__
        partition, begun = digested(tag, model_id, self.exact)
        key = begun.copy()
        key.update(encoded(self.text if conversation is None else conversation))
        return Query(self.text, self.namespace, partition, key.hexdigest(), conversation)

    def rewritten(self, question: str | None) -> Request:
        """Return what the call asks for, now that its last turn was rewritten, or could not be (None)."""
        if self.rewriting is None:
            return self
        unrewritten = self._replace(rewriting=None)
        if question is None:
            return unrewritten
        return self.rewriting.instead._replace(text=composed(question), unrewritten=unrewritten)

    def asks_the_same(self, other: object) -> bool:
        """Return whether another request, of the same call, asks for the same."""
        return isinstance(other, Request) and (self.text, self.namespace, self.exact, self.history) == (
            other.text,
            other.namespace,
            other.exact,
            other.history,
        )


_REMEMBERED_BYTES = 1024
"""Up to which size all that must be equal is remembered with its digest, so that 256 of them stay below 0.5 MB."""


@lru_cache(maxsize=256)
def _partition(tag: bytes, model_id: str, exact: bytes) -> tuple[str, blake2b]:
    """Return the digest of a partition, and the hash of which each of its keys is a continuation."""
    partition = blake2b(length_prefixed(tag, (model_id.encode(), exact)), digest_size=20)
    return partition.hexdigest(), partition


@dataclass(frozen=True, slots=True)
class Keyer:
    """Turns the calls of one function into requests.

    Args:
        binder: binds the function's arguments.
        identity: returns the function's identity as it is now.
        reader: returns a reader for the arguments of one call.
        prompt: name of the argument that carries the prompt, or a callable of all arguments.
        context: mapping, or callable of all arguments that returns one; None: every call must bring its own.
        namespace: name, or callable of all arguments that returns one.
        ignore: by name, the arguments, or what is in them, that do not affect the answer.
        ttl: seconds until an entry expires, or what returns that of a response; None: never.
        fixed: by name, default values and their forms, see `fixed_forms`.
        similar_history: whether the texts of earlier turns may be similar, rather than have to be equal.
        skip_if: returns whether a call with these arguments is none of the cache's; None: none is.
    """

    binder: Binder
    identity: Callable[[], Identity]
    reader: Callable[[], Reader]
    prompt: Prompt
    context: Context | None
    namespace: Namespace
    ignore: Ignore
    ttl: Ttl | None
    fixed: Mapping[str, tuple[object, bytes]] = field(default_factory=dict)
    similar_history: bool = False
    skip_if: SkipIf | None = None

    def split_options(self, kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the call-time options and the keyword arguments that are the function's own."""
        if CALL_OPTIONS.isdisjoint(kwargs):
            return {}, kwargs
        return {name: kwargs[name] for name in CALL_OPTIONS if name in kwargs}, self.own(kwargs)

    def own(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments that are the function's own."""
        names = self.binder.names
        return {name: value for name, value in kwargs.items() if name not in CALL_OPTIONS or name in names}

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
            InvalidValueError: the ttl, the namespace or ``cache_serve`` has a value that is not allowed.
            Exception: that of a signal handler, which is the caller's.
        """
        try:
            return contained(self._requested, args, kwargs, options)
        except (InvalidTypeError, InvalidValueError, MissingContextError):
            raise
        except UnreadableError as error:
            let_through(error)
            name = error.trail[-1][0] if error.trail else "what the function reads"
            return Bypass("unfingerprintable", f"{name}: {error}", f"pass version=, or ignore=({name!r},) {_IF_IT_MAY}")
        except Exception as error:  # noqa: BLE001  # a user's callable or value failed: the call must go on
            let_through(error)
            return Failure("keying", error)

    def _requested(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Request | Bypass | Failure:
        if "cache_serve" in options and _checked_serve(options["cache_serve"]) == "off":
            return Bypass("off")
        binder = self.binder.current()
        bound = binder.bind(args, kwargs)
        if bound is None:
            return Bypass("arguments", binder.why_not(args, kwargs))
        if self.skip_if is not None:
            skipped = _skipped(self.skip_if, {**bound[1], **bound[0]})
            if skipped is not None:
                return skipped
        return self._request_of(binder, *bound, options)

    def _request_of(
        self, binder: Binder, named: dict[str, Any], extra: dict[str, Any], options: Mapping[str, Any]
    ) -> Request | Bypass:
        arguments = {**extra, **named} if extra else dict(named)
        contexts = self._contexts_of(arguments, options)
        namespace = self._namespace_of(arguments, options)
        ttl = checks.ttl(options["cache_ttl"], "cache_ttl", of_call=True) if "cache_ttl" in options else self.ttl
        stream = arguments.get("stream")
        if stream is not None and _is_true(stream):
            return Bypass("stream", "stream=True")
        identity = self.identity()
        if identity.missing is not None:
            return Bypass("identity", identity.missing)
        if self.ignore:
            named, extra = self._counted(named), self._counted(extra)
        taken = take(self.prompt, arguments, named, extra, with_history=self.similar_history)
        if isinstance(taken, Bypass):
            return taken
        forms = self._forms(binder, taken.named, taken.extra, contexts)
        if isinstance(forms, Bypass):
            return forms
        parts = (identity.digest, encoded(namespace), *forms)
        history = taken.history if self.similar_history else None
        exact, serve = length_prefixed(b"Q", parts), options.get("cache_serve")
        request = Request(
            taken.text, namespace, exact, ttl, contexts, parts, taken.named, taken.extra, identity.named,
            taken.note, history, None, arguments, serve,
        )  # fmt: skip
        return request if taken.to_rewrite is None else self._with_rewriting(request, taken.to_rewrite, binder)

    def _with_rewriting(self, request: Request, to_rewrite: ToRewrite, binder: Binder) -> Request | Bypass:
        """Return a request with what to ask for instead if its last turn can be rewritten."""
        _, named, extra, *_ = to_rewrite.standalone
        forms = self._forms(binder, named, extra, request.contexts)
        if isinstance(forms, Bypass):
            return forms
        parts = (*request.parts[:2], *forms)
        instead = request._replace(exact=length_prefixed(b"Q", parts), parts=parts, named=named, extra=extra)
        key = blake2b(length_prefixed(b"R", [self.reader().form(to_rewrite.messages)])).digest()
        return request._replace(rewriting=Rewriting(to_rewrite.rewriter, to_rewrite.messages, key, instead))

    def _forms(
        self,
        binder: Binder,
        named: Mapping[str, Any],
        extra: Mapping[str, Any],
        contexts: tuple[Mapping[Any, Any] | None, ...],
    ) -> list[bytes] | Bypass:
        """Return the forms of the contexts, of the arguments in ``**kwargs`` and of each other argument in order."""
        reader = self.reader()
        forms: list[bytes] = []
        name = "context"
        try:
            forms.append(_context_form(contexts, reader))
            name = ""
            forms.append(mapping_form(extra.items(), reader) if extra else b"")
            fixed = self.fixed
            for name in binder.order:
                # Names are fixed by the signature, so forms in its order suffice; an ignored argument keeps its place.
                if name not in named:
                    forms.append(b"")
                elif name in fixed and named[name] is fixed[name][0]:
                    forms.append(fixed[name][1])
                else:
                    forms.append(reader.form(named[name]))
        except UnreadableError as error:
            return self._unreadable(name, error, in_context=not forms)
        return forms

    def _unreadable(self, name: str, error: UnreadableError, *, in_context: bool) -> Bypass:
        """Return why a call is not cached, naming the outermost thing on the way that is not the program's own."""
        steps = [*reversed(error.trail)]
        if not name and steps:
            name = steps.pop(0)[0].strip("['\"]")
        path, cls = name, error.live
        for step, kind in steps:
            path, cls = path + step, kind
            if kind.__module__ != "builtins" and not self.reader().is_own(kind.__module__):
                break
        detail = f"{path} ({type_path(cls).decode()})" if error.live is not None and cls else f"{path}: {error}"
        if in_context or "[" in path or not _decides_no_answer(error.live, path):
            return Bypass("unfingerprintable", detail, _IN_CONTEXT if in_context else _INSTEAD.format(name))
        return Bypass("unfingerprintable", detail, f"{_IF_IT_MAY}, pass ignore=({path!r},)")

    def described(self, request: Request) -> dict[str, int]:
        """Return by name a number for each part of a request that must be equal: the same for equal parts."""
        request = request if request.rewriting is None else request.rewriting.instead
        function, namespace, _, _, *arguments = map(hash, request.parts)
        described = {f"{name} (read by the function)": hash(part) for name, part in request.function.items()}
        described["the function"] = function
        described["the namespace"] = namespace
        described |= _items_described("context[{!r}]", _merged(request.contexts), self.reader)
        described |= dict(zip(self.binder.current().order, arguments, strict=False))
        described |= _items_described("{}", request.extra, self.reader)
        carrier = request.named.get(self.prompt) if isinstance(self.prompt, str) else None
        if isinstance(carrier, Replaced) and isinstance(carrier.value, list | tuple) and 0 not in carrier.changes:
            described |= _items_described(f"{self.prompt}[{{}}]", {0: carrier.value[0]}, self.reader)
        return described

    def _contexts_of(
        self, arguments: Arguments, options: Mapping[str, Any]
    ) -> tuple[Mapping[Any, Any] | None, Mapping[Any, Any] | None]:
        """Return the decorator's context and the call's; at least one is there."""
        at_call = options.get("cache_context")
        if at_call is not None:
            _checked_context(at_call, "cache_context")
        elif self.context is None:
            raise MissingContextError(
                "this call has no cache context; pass cache_context={...} with what the answer depends on "
                "(user, document, tenant), or context= at decoration; {} says that it depends on nothing"
            )
        if self.context is None:
            return None, at_call
        own = self.context(arguments) if callable(self.context) else self.context
        return _checked_context(own, "context"), at_call

    def _namespace_of(self, arguments: Arguments, options: Mapping[str, Any]) -> str:
        name, source = options.get("cache_namespace"), "cache_namespace"
        if name is None:
            if isinstance(self.namespace, str):  # it was checked as the function was decorated
                return self.namespace
            name, source = self.namespace(arguments), "what namespace= returned"
        return checks.text(name, source, of_call=True)

    def _counted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments without what is ignored."""
        if self.ignore.keys().isdisjoint(arguments):
            return arguments
        counted = {}
        for name, value in arguments.items():
            inner = self.ignore.get(name)
            if inner is None:
                counted[name] = value
            elif inner:
                counted[name] = without(value, inner)
        return counted


def _decides_no_answer(live: type | None, path: str) -> bool:
    """Return whether it is safe to ignore what cannot be read: a connection or lock, or anything live in an object.

    A file or a table that is passed as an argument may be what the function is asked about.
    """
    if live is None:
        return False
    is_file = live.__module__.partition(".")[0] in ("_io", "io", "tempfile")
    return (is_file and "." in path) or live is object or is_live(live)


_IF_IT_MAY = "if it does not affect the answer"
_INSTEAD = "pass texts, numbers or identifiers instead of {0}"
_IN_CONTEXT = "put texts, numbers or identifiers into the context"


def fixed_forms(
    defaults: Mapping[str, Any], reader: Callable[[], Reader], *, watched: bool = False
) -> dict[str, tuple[object, bytes]]:
    """Return by name the default values that never change, each with its form.

    One without a form, such as a mark for "not given", says by being there that nothing was passed: it counts as
    nothing. Those that may come to hold something else are read at each call.

    Args:
        defaults: the default values by name.
        reader: returns a reader.
        watched: whether the function's identity covers its defaults, and so what they may come to hold.
    """
    fixed: dict[str, tuple[object, bytes]] = {}
    for name, value in defaults.items():
        try:
            written = contained(reader().form, value)
        except UnreadableError:
            fixed[name] = value, b""
        except Exception as error:  # noqa: BLE001  # it is read at each call, where trouble is a bypass
            let_through(error)
            continue
        else:
            where = layout(type(value))
            has_place = where.has_attributes or where.slots or hasattr(type(value), "__len__")
            if type(value) in _UNCHANGING or not has_place or (watched and not _holds(value)):
                fixed[name] = value, written
    return fixed


_UNCHANGING = (str, int, float, bool, type(None))


def _holds(value: object) -> bool:
    return hasattr(type(value), "__len__") or bool(named_values(value))


def _is_true(value: object) -> bool:
    """Return whether an argument is true; one that does not say counts as true."""
    try:
        return contained(bool, value)
    except Exception as error:  # noqa: BLE001  # an array of several values has no truth
        let_through(error)
        return True


def _merged(contexts: tuple[Mapping[Any, Any] | None, ...]) -> Mapping[Any, Any]:
    given = [context for context in contexts if context is not None]
    return given[0] if len(given) == 1 else {key: item for context in given for key, item in context.items()}


def _items_described(name: str, items: Mapping[Any, Any], reader: Callable[[], Reader]) -> dict[str, int]:
    """Return a number for each item of a mapping, under a name that is made of its key."""
    described = {}
    for key, item in items.items():
        try:
            described[name.format(key)] = hash(contained(reader().form, item))
        except Exception as error:  # noqa: BLE001  # what cannot be read, or runs code that raises, is not described
            let_through(error)
            continue
    return described


def _context_form(contexts: tuple[Mapping[Any, Any] | None, ...], reader: Reader) -> bytes:
    """Return the form of a call's contexts, merged; a mapping that holds more than its items counts as what it is."""
    own, at_call = contexts
    if at_call is None and type(own) is dict:
        return reader.form(own)
    given = [context for context in contexts if context is not None]
    merged = _merged(contexts)
    if type(merged) is dict and all(type(context) is dict for context in given):
        return reader.form(merged)
    special = [reader.form(context) for context in given if type(context) is not dict]
    return length_prefixed(b"C", [mapping_form(dict(merged).items(), reader), *special])


def _checked_serve(serve: Any) -> CallServe:
    if not isinstance(serve, str) or serve not in CALL_SERVES:
        # What comes with a call is not quoted.
        raise InvalidValueError(f"cache_serve is none of {', '.join(map(repr, CALL_SERVES))}; use one of them")
    return serve  # type: ignore[return-value]  # one of those words


def _skipped(skip_if: SkipIf, arguments: dict[str, Any]) -> Bypass | Failure | None:
    """Return why a call is none of the cache's; if that cannot be told it may be private, and is none either."""
    try:
        return Bypass("skipped") if contained(_truth, contained(skip_if, arguments)) else None
    except Exception as error:  # noqa: BLE001  # a user's callable failed: the call must go on
        let_through(error)
        return Failure("skip_if", error)


def _truth(verdict: object) -> bool:
    if isinstance(verdict, Awaitable):
        if iscoroutine(verdict):
            verdict.close()
        raise InvalidTypeError("skip_if returns what is to be awaited, which nobody does; return a bool")
    return bool(verdict)


def _checked_context(context: Any, source: str) -> Mapping[Any, Any]:
    if type(context) is not dict and not isinstance(context, Mapping):  # the second takes half a microsecond
        raise InvalidTypeError(f"{source} gave {a_kind(context)}; it must be a mapping such as {{'user_id': ...}}")
    return context
