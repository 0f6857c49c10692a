"""From a function and its options to its call site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recallm import amounts, checks, registry
from recallm.codec.codec import Codec
from recallm.engine.callsite import CallSite
from recallm.engine.core import Core
from recallm.engine.plan import Plan
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.keying.bookkeeping import argument_records
from recallm.keying.identity import FunctionIdentity
from recallm.keying.ignoring import Ignore, ignore_tree, merged, whole
from recallm.keying.keyer import Keyer, fixed_forms
from recallm.keying.prompts import may_be_similar
from recallm.keying.scope import calling_line
from recallm.keying.signature import (
    Binder,
    CallKind,
    checked_ignore,
    checked_prompt,
    chosen_call_kind,
    function_path,
    unwrap_function,
    where_defined,
)
from recallm.storage.base import StorageBackend
from recallm.telemetry.advice import Advice
from recallm.typing import Guard, Same
from recallm.wrapping.options import NOT_GIVEN, WrapOptions


def call_site(
    fn: Callable[..., Any],
    settings: WrapOptions,
    core: Core,
    guards: tuple[Guard, ...],
    source: StorageBackend | str,
) -> CallSite:
    """Return the call site of a function.

    Args:
        fn: the function, method, partial or callable object.
        settings: every option, checked.
        core: what the calls of its cache share.
        guards: those of its cache.
        source: the cache's storage, or its name or URL.

    Raises:
        InvalidTypeError: the storage cannot serve such a function.
        InvalidValueError: ``audit`` and what goes with it do not go together.
        SignatureMismatchError: an option names no argument of `fn`, or no name tells which carries the prompt.
    """
    kind = chosen_call_kind(fn, settings["mode"])
    inner = unwrap_function(fn) if isinstance(fn, staticmethod | classmethod) else fn
    binder = Binder(inner)
    ignore = ignore_tree(checked_ignore(fn, binder, settings["ignore"]))
    variables = {name: rest for name, rest in ignore.items() if name not in binder.names}
    identity = FunctionIdentity(inner, variables, registry.tokens, settings["version"])
    keyer = _keyer(identity, ignore, kind, settings, core)
    advice = Advice(function_path(fn), where=calling_line() if identity.of_library else where_defined(fn))
    storage = registry.existing_storage(source)
    if storage is not None:
        registry.checked_storage(storage, asynchronous=kind != "sync")
        if settings["tags"] is not None and not storage.keeps_tags:
            raise InvalidTypeError(f"{storage!r} keeps no tags; leave out tags=, or use another storage")
    if isinstance(keyer.namespace, str):
        core.remember_namespace(keyer.namespace)
    return CallSite(core, keyer, _plan(inner, settings, core, guards), advice, kind)


def _keyer(identity: FunctionIdentity, ignore: Ignore, kind: CallKind, settings: WrapOptions, core: Core) -> Keyer:
    inner, config = identity.function, core.config
    binder = Binder(inner)
    ttl, namespace = settings["ttl"], settings["namespace"]
    prompt = "" if kind == "generator" else checked_prompt(inner, binder, settings["prompt"], whole(ignore))
    return Keyer(
        binder=binder,
        identity=identity,
        reader=identity.reader,
        prompt=prompt,
        context=settings["context"],
        namespace=config.default_namespace if namespace is None else namespace,
        ignore=merged(argument_records(inner, binder.names), ignore),
        fixed=fixed_forms(binder.defaults, identity.reader, watched=settings["version"] is None),
        ttl=amounts.ttl(config.default_ttl if ttl is NOT_GIVEN else ttl),
        similar_history=may_be_similar(settings["history"], prompt, binder),
        skip_if=settings["skip_if"],
    )


def _plan(inner: Any, settings: WrapOptions, core: Core, guards: tuple[Guard, ...]) -> Plan:
    same = _judge(settings)
    return Plan(
        threshold=core.config.threshold,
        guards=guards,
        codec=Codec.for_function(
            inner,
            settings["response_type"],
            settings["response_types"],
            process=registry.tokens.of(Codec).hex(),
        ),
        store_if=settings["store_if"],  # type: ignore[arg-type]  # its check has replaced None
        verifier=settings["verify"],
        coalesce=settings["coalesce"],
        stale_seconds=checks.ttl(settings["stale_if_error"]),
        tags=settings["tags"],
        serve=settings["serve"],
        price=settings["price"],  # type: ignore[arg-type]  # its check has made a pair of a mapping
        ttl_jitter=settings["ttl_jitter"],
        revalidate_seconds=checks.ttl(settings["stale_while_revalidate"]),
        audit=settings["audit"],
        same=same,
        max_wrong=settings["max_wrong"],
    )


def _judge(settings: WrapOptions) -> Same | None:
    """Return what compares the answers of audits.

    Raises:
        InvalidValueError: ``max_wrong`` has nothing to go by.
    """
    audit, same, max_wrong = settings["audit"], settings["same"], settings["max_wrong"]
    if max_wrong is not None and not audit:
        raise InvalidValueError(f"max_wrong={max_wrong!r} has no audits to go by; pass audit=0.02 or more")
    if max_wrong is not None and same is None:
        raise InvalidValueError(
            f"max_wrong={max_wrong!r} needs a judge of yours in same=: the default one finds too many right answers "
            "wrong to stop a cache by; use recallm.judges.equal_values for answers that are data"
        )
    if not audit or same is not None:
        return same
    from recallm.judges import texts_agree  # what it reads texts with takes time to import, and few use it

    return texts_agree
