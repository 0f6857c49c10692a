"""From a call to what it asks for: the prompt taken out, everything else turned into a digest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from recallm import checks
from recallm.errors import InvalidTypeError, InvalidValueError, MissingContextError
from recallm.keying.chat import composed, replace_text, take_prompt
from recallm.keying.containers import mapping_form
from recallm.keying.identity import Identity
from recallm.keying.ignoring import Ignore, without
from recallm.keying.live import is_live
from recallm.keying.objects import layout, named_values
from recallm.keying.reader import Reader, UnreadableError, length_prefixed, type_path
from recallm.keying.signature import USUAL_NAMES, Binder
from recallm.keying.stand_ins import PROMPT_PLACEHOLDER, Replaced
from recallm.records import Bypass, Failure, Query
from recallm.typing import Arguments, Context, Namespace, Prompt

Note: TypeAlias = Callable[[], "str | None"]

CALL_OPTIONS = frozenset({"cache_context", "cache_namespace", "cache_ttl"})


class Request(NamedTuple):
    """What a cacheable call asks for, before it is known which model embeds its prompt.

    Attributes:
        text: the prompt.
        namespace: where its entry is kept.
        exact: everything else that the answer depends on, as bytes that must be equal.
        ttl: seconds until its entry expires; None: never.
        contexts: the contexts that the decorator and the call gave; `exact` covers them.
        parts: what `exact` consists of: the function, the namespace, the contexts, ``**kwargs``, each argument.
        named: the arguments by name, with placeholders; `exact` covers them.
        extra: the arguments in ``**kwargs`` by name, likewise.
        function: by name, digests of what the function depends on.
        note: returns what the function's author should know of such calls, if anything; None: nothing.
    """

    text: str
    namespace: str
    exact: bytes
    ttl: float | None
    contexts: tuple[Mapping[Any, Any] | None, ...] = ()
    parts: tuple[bytes, ...] = ()
    named: Mapping[str, Any] = MappingProxyType({})
    extra: Mapping[str, Any] = MappingProxyType({})
    function: Mapping[str, bytes] = MappingProxyType({})
    note: Note | None = None

    def query(self, model_id: str) -> Query:
        """Return the query for a storage, under digests that no entry of another embedding model has."""
        partition = blake2b(length_prefixed(b"P", [model_id.encode(), self.exact]), digest_size=20)
        key = partition.copy()
        key.update(self.text.encode("utf-8", "surrogatepass"))
        return Query(self.text, self.namespace, partition.hexdigest(), key.hexdigest())

    def asks_the_same(self, other: object) -> bool:
        """Return whether another request, of the same call, asks for the same."""
        return isinstance(other, Request) and (self.text, self.namespace, self.exact) == (
            other.text,
            other.namespace,
            other.exact,
        )


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
        ttl: seconds until an entry expires; None: never.
        fixed: by name, default values and their forms, see `fixed_forms`.
    """

    binder: Binder
    identity: Callable[[], Identity]
    reader: Callable[[], Reader]
    prompt: Prompt
    context: Context | None
    namespace: Namespace
    ignore: Ignore
    ttl: float | None
    fixed: Mapping[str, tuple[object, bytes]] = field(default_factory=dict)

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
        binder = self.binder.current()
        bound = binder.bind(args, kwargs)
        if bound is None:
            return Bypass("arguments", binder.why_not(args, kwargs))
        try:
            return self._request_of(binder, *bound, options)
        except (InvalidTypeError, InvalidValueError, MissingContextError):
            raise
        except UnreadableError as error:
            name = error.trail[-1][0] if error.trail else "what the function reads"
            return Bypass("unfingerprintable", f"{name}: {error}", f"pass version=, or ignore=({name!r},) {_IF_IT_MAY}")
        except Exception as error:  # noqa: BLE001  # a user's callable or value failed: the call must go on
            return Failure("keying", error)

    def _request_of(
        self, binder: Binder, named: dict[str, Any], extra: dict[str, Any], options: Mapping[str, Any]
    ) -> Request | Bypass:
        arguments = {**extra, **named} if extra else dict(named)
        contexts = self._contexts_of(arguments, options)
        namespace = self._namespace_of(arguments, options)
        ttl = checks.ttl(options["cache_ttl"], "cache_ttl") if "cache_ttl" in options else self.ttl
        if _is_true(arguments.get("stream")):
            return Bypass("stream", "stream=True")
        identity = self.identity()
        if identity.missing is not None:
            return Bypass("identity", identity.missing)
        if self.ignore:
            named, extra = self._counted(named), self._counted(extra)
        taken = self._take_prompt(arguments, named, extra)
        if isinstance(taken, Bypass):
            return taken
        text, note = taken
        written = self._forms(binder, named, extra, contexts)
        if isinstance(written, Bypass):
            return written
        parts = (identity.digest, namespace.encode("utf-8", "surrogatepass"), *written)
        return Request(
            text, namespace, length_prefixed(b"Q", parts), ttl, contexts, parts, named, extra, identity.named, note
        )

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
        name = "cache_context"
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
            return self._unreadable(name, error)
        return forms

    def _unreadable(self, name: str, error: UnreadableError) -> Bypass:
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
        if name == "cache_context" or "[" in path or not _decides_no_answer(error.live, path):
            return Bypass("unfingerprintable", detail, _INSTEAD.format(name))
        return Bypass("unfingerprintable", detail, f"{_IF_IT_MAY}, pass ignore=({path!r},)")

    def described(self, request: Request) -> dict[str, int]:
        """Return by name a number for each part of a request that must be equal: the same for equal parts."""
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
        name = options.get("cache_namespace")
        if name is None:
            name = self.namespace(arguments) if callable(self.namespace) else self.namespace
        return checks.text(name, "cache_namespace")

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

    def _take_prompt(
        self, arguments: Arguments, named: dict[str, Any], extra: dict[str, Any]
    ) -> tuple[str, Note | None] | Bypass:
        """Return the prompt, which a placeholder replaces in `named` or `extra`, and what the author should know."""
        if callable(self.prompt):
            return self._take_derived_prompt(arguments, named, extra)
        name = self.prompt
        if name not in named and name not in extra:
            known = [each for each in extra if each in USUAL_NAMES]
            name = known[0] if len(known) == 1 else name
        group = named if name in named else extra
        value = group.get(name)
        if type(value) is str:
            group[name] = PROMPT_PLACEHOLDER
            return composed(value), None
        taken = take_prompt(value)
        if taken is None:
            held = type(group.get(name)).__qualname__
            return Bypass("no_prompt", f"{name!r} ({held})", _NAME_PROMPT)
        group[name] = taken.rest
        return taken.text, None

    def _take_derived_prompt(
        self, arguments: Arguments, named: dict[str, Any], extra: dict[str, Any]
    ) -> tuple[str, Note | None] | Bypass:
        """Return the text that the user's callable made of the arguments.

        A placeholder takes its place if it stands as it is in one place. If it stands nowhere, or twice, the arguments
        stay whole, and such calls match exactly only.
        """
        derive: Any = self.prompt
        text: object = derive(arguments)
        if text is None:
            return Bypass("no_prompt", "prompt= returned None", "")
        if not isinstance(text, str):
            return Bypass("no_prompt", f"prompt= returned a {type(text).__qualname__}", "return a str")
        found: list[object] = []
        text = composed(text)
        replaced = [
            {name: replace_text(value, text, found) for name, value in group.items()} for group in (named, extra)
        ]
        if len(found) == 1:
            named.update(replaced[0])
            extra.update(replaced[1])
            return text, None
        return text, None if found else partial(_what_covers, derive, arguments, {**named, **extra})


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

_NAME_PROMPT = "pass prompt='<argument>', or prompt=lambda kw: ... that returns the user's text"


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
            written = reader().form(value)
        except UnreadableError:
            fixed[name] = value, b""
        except Exception:  # noqa: BLE001, S112  # it is read at each call, where trouble is a bypass
            continue
        else:
            where = layout(type(value))
            has_place = where.attributes is not None or where.slots or hasattr(type(value), "__len__")
            if type(value) in _UNCHANGING or not has_place or (watched and not _holds(value)):
                fixed[name] = value, written
    return fixed


_UNCHANGING = (str, int, float, bool, type(None))


def _holds(value: object) -> bool:
    return hasattr(type(value), "__len__") or bool(named_values(value))


def _is_true(value: object) -> bool:
    """Return whether an argument is true; one that does not say counts as true."""
    try:
        return bool(value)
    except Exception:  # noqa: BLE001  # an array of several values has no truth
        return True


def _merged(contexts: tuple[Mapping[Any, Any] | None, ...]) -> Mapping[Any, Any]:
    given = [context for context in contexts if context is not None]
    return given[0] if len(given) == 1 else {key: item for context in given for key, item in context.items()}


def _items_described(name: str, items: Mapping[Any, Any], reader: Callable[[], Reader]) -> dict[str, int]:
    """Return a number for each item of a mapping, under a name that is made of its key."""
    described = {}
    for key, item in items.items():
        try:
            described[name.format(key)] = hash(reader().form(item))
        except UnreadableError:
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


def _what_covers(derive: Callable[[Arguments], object], arguments: Arguments, counted: Collection[str]) -> str | None:
    """Return what to tell of a derived prompt that stands in no argument; None: it depends on none that counts."""
    texts = [name for name in counted if isinstance(arguments.get(name), str)]
    whole = tuple(name for name in texts if _MARK in _derived(derive, {**arguments, name: _LONG + _MARK}))
    text = _derived(derive, arguments)
    part = [name for name in texts if name not in whole and _derived(derive, {**arguments, name: _MARK}) != text]
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


def _derived(derive: Callable[[Arguments], object], arguments: Arguments) -> str:
    try:
        return str(derive(arguments)).casefold()
    except Exception:  # noqa: BLE001  # the user's callable expects something else there
        return ""


def _checked_context(context: Any, source: str) -> Mapping[Any, Any]:
    if not isinstance(context, Mapping):
        raise InvalidTypeError(
            f"{source} gave a {type(context).__name__}; it must be a mapping such as {{'user_id': ...}}"
        )
    return context
