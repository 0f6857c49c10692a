"""Storing the function's answer, unless the user, the codec or an invalidation declines it."""

from __future__ import annotations

from collections.abc import Coroutine
from hashlib import blake2b
from typing import TYPE_CHECKING

from recallm import checks
from recallm.amounts import MILLION, cost
from recallm.engine.decision import truth
from recallm.engine.effects import Called, Emit
from recallm.engine.plan import Flow, Plan, StageError
from recallm.engine.serving import GivenUpError, decoded
from recallm.errors import CircuitOpenError, CorruptPayloadError, UnknownTypeError, a_kind, contained
from recallm.keying.responses import Usage, used_tokens
from recallm.keying.tags import tags_of
from recallm.records import Entry, Failure, Miss, Stored
from recallm.storage.base import Put

if TYPE_CHECKING:
    from recallm.keying.keyer import Request


def remember(plan: Plan, request: Request, miss: Miss, called: Called) -> Flow[bytes | None]:
    """Store the function's answer, unless the user or the codec declines it; return its payload if it is stored."""
    try:
        if not _is_wanted(plan, called):
            return None
        ttl = _ttl(plan, request, miss, called)
        used = contained(used_tokens, called.response)
        spent = yield from _cost(plan, called, used)
        entry = _entry_to_store(plan, request, miss, called, ttl)._replace(tokens=used.total, cost=spent)
        if not (yield from _is_for_others(plan, miss)):
            stored = yield from _put(plan, entry, miss.epoch, ttl)
            yield Emit(stored)
            return entry.payload if stored.kept else None
    except StageError as failed:
        if not isinstance(failed.error, CircuitOpenError):
            yield Emit(Failure(failed.stage, failed.error))
    return None


def payload_to_compare(plan: Plan, called: Called) -> Flow[bytes | None]:
    """Return the payload of an answer that is not to be stored, or None if the user or the codec declines it."""
    try:
        return _payload(plan, called) if _is_wanted(plan, called) else None
    except StageError as failed:
        yield Emit(Failure(failed.stage, failed.error))
    return None


def _is_for_others(plan: Plan, miss: Miss) -> Flow[bool]:
    """Return whether the key holds an answer that only other processes can read, even now that a new one is known."""
    if miss.unread is None:
        return False
    try:
        yield from decoded(plan, miss.unread)
    except UnknownTypeError as error:
        return not error.of_process
    except (CorruptPayloadError, GivenUpError):
        return False
    return False


def _is_wanted(plan: Plan, called: Called) -> bool:
    try:
        return truth(contained(plan.store_if, called.response))
    except Exception as error:
        raise StageError("store_if", error) from error


def _ttl(plan: Plan, request: Request, miss: Miss, called: Called) -> float | None:
    """Return the seconds until an answer expires, shortened by a share that is always the same for one key."""
    try:
        ttl = request.ttl
        if callable(ttl):
            ttl = contained(ttl, called.response)
            if isinstance(ttl, Coroutine):
                ttl.close()
        seconds = checks.ttl(ttl, of_call=True)
    except Exception as error:
        raise StageError("ttl", error) from error
    if seconds is None or not plan.ttl_jitter:
        return seconds
    drawn = int.from_bytes(blake2b(miss.query.key.encode(), digest_size=4).digest()) / (1 << 32)
    return seconds * (1.0 - plan.ttl_jitter * drawn)


def _cost(plan: Plan, called: Called, used: Usage) -> Flow[float]:
    """Return what an answer cost; trouble with the price leaves it unknown, and the answer is stored."""
    price = plan.price
    if price is None:
        return 0.0
    try:
        if not callable(price):
            return cost((used.read * price[0] + used.written * price[1]) / MILLION)
        told: object = contained(price, called.response)
        if isinstance(told, Coroutine):
            told.close()
        return cost(told)
    except Exception as error:  # noqa: BLE001  # what an answer cost decides over nothing
        yield Emit(Failure("price", error))
        return 0.0


def _entry_to_store(plan: Plan, request: Request, miss: Miss, called: Called, ttl: float | None) -> Entry:
    query = miss.query
    try:
        tags = () if plan.tags is None else contained(tags_of, plan.tags, request.arguments, called.response)
    except Exception as error:
        raise StageError("tags", error) from error
    return Entry(
        key=query.key,
        namespace=query.namespace,
        partition=query.partition,
        prompt=query.prompt,
        vector=miss.vector,
        payload=_payload(plan, called),
        seconds=called.seconds,
        fresh_for=None if plan.expired_seconds is None else ttl,
        tags=tags,
    )


def _payload(plan: Plan, called: Called) -> bytes:
    try:
        return contained(plan.codec.encode, called.response)
    except Exception as error:
        raise StageError("codec", error) from error


def _put(plan: Plan, entry: Entry, epoch: int, ttl: float | None) -> Flow[Stored]:
    kept_for = None if ttl is None else ttl + (plan.expired_seconds or 0.0)
    try:
        stored: Stored = yield Put(entry, epoch, kept_for)
        if not isinstance(stored, Stored) or not isinstance(stored.evicted, int):
            raise TypeError(f"a storage's put returned {a_kind(stored)}; it must return a Stored")
    except Exception as error:
        raise StageError("storage", error) from error
    return stored
