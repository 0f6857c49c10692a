"""Calls on a Redis server take as few round trips as they can, and are as right where they have to take more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import redis
from support.delay_proxy import CommandCounter, DelayProxy, Traffic
from support.redis_servers import LAYOUTS, Server
from support.redis_storages import found, keys, make, put, storage_on, url_of_user, without_shortcuts

from recallm import CacheConfig, semantic_cache
from recallm.records import Entry
from recallm.storage.base import Invalidate, Recall, Remove, Search
from recallm.storage.redis.clients import AT_ONCE
from recallm.storage.redis.commands import Watch
from recallm.storage.redis.scripts import EVICT
from recallm.storage.redis.server import Epoch
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import FakeEmbedder

Prompts = list[tuple[str, Callable[[], object]]]
"""Prompts, each with what is done before it is asked."""


@contextmanager
def behind_a_proxy(
    server: Server, *, rules: str = "+@all", **options: Any
) -> Iterator[tuple[RedisStorage, DelayProxy]]:
    """Give a storage on an empty server behind a proxy that counts, of a user with these rules."""
    server.empty()
    proxy = DelayProxy(server.port)
    try:
        url = url_of_user(server, rules).replace(str(server.port), str(proxy.port))
        yield RedisStorage.from_url(url, layout=LAYOUTS[server.kind], timeout=5.0, **options), proxy
    finally:
        proxy.close()


def asked(storage: RedisStorage, *, asynchronous: bool) -> Callable[[Prompts], list[str]]:
    """Return what asks a cached function for prompts, and returns the answers."""
    options: dict[str, Any] = {"context": {}, "storage": storage, "embedder": FakeEmbedder(), "guards": ()}
    options["config"] = CacheConfig(cache_timeout_seconds=5.0)

    @semantic_cache(**options)
    def answer(prompt: str) -> str:
        return f"answer to {prompt}"

    @semantic_cache(**options)
    async def aanswer(prompt: str) -> str:
        return f"answer to {prompt}"

    async def ask_all(prompts: Prompts) -> list[str]:
        answers = []
        for prompt, before in prompts:
            before()
            answers.append(await aanswer(prompt))
        before()
        await storage.aclose()
        return answers

    def ask(prompts: Prompts) -> list[str]:
        if asynchronous:
            return asyncio.run(ask_all([*prompts, ("", lambda: None)]))[:-1]
        answers = []
        for prompt, before in prompts:
            before()
            answers.append(answer(prompt))
        return answers

    return ask


def course(storage: RedisStorage, proxy: DelayProxy, *, asynchronous: bool) -> dict[str, Traffic]:
    """Have a cached function asked, check the answers, and return the traffic of each call."""
    traffic: dict[str, Traffic] = {}
    last = ""

    def next_is(name: str) -> Callable[[], None]:
        def note() -> None:
            nonlocal last
            traffic[last], last = proxy.traffic, name
            proxy.reset()

        return note

    first = "how do I reset my password"
    reworded = "how do I my password reset"
    steps: Prompts = [
        # The first calls find out what the server can do, create the index, and begin the namespace's epoch.
        ("one", next_is("preparation")),
        ("two", next_is("preparation")),
        ("three", next_is("preparation")),
        (first, next_is("miss")),
        (first, next_is("exact hit")),
        (reworded, next_is("similar")),
        (reworded, next_is("similar, embedding known")),
        ("nothing like it", next_is("")),
        ("four", next_is("end")),
    ]
    answers = asked(storage, asynchronous=asynchronous)(steps)
    assert answers[3:8] == [f"answer to {first}"] * 4 + ["answer to nothing like it"]
    return traffic


def test_a_call_takes_few_round_trips(redis_server: Server, asynchronous: bool) -> None:
    """An exact hit takes one round trip, a similar one two, or one if its embedding is known, and a miss three."""
    with behind_a_proxy(redis_server) as (storage, proxy):
        traffic = course(storage, proxy, asynchronous=asynchronous)
    taken = {name: each.round_trips for name, each in traffic.items() if name not in ("", "preparation", "end")}
    assert taken == {"miss": 3, "exact hit": 1, "similar": 2, "similar, embedding known": 1}
    assert traffic["miss"].commands <= 10


def test_a_user_who_may_do_less_gets_the_same_in_more_round_trips(redis_server: Server, asynchronous: bool) -> None:
    """Without scripts and aggregations every answer is the same."""
    with behind_a_proxy(redis_server, rules=without_shortcuts(redis_server)) as (storage, proxy):
        traffic = course(storage, proxy, asynchronous=asynchronous)
        assert traffic["exact hit"].round_trips == 1
        assert storage._server_state.scripts is False


def test_scripts_are_given_up_when_they_are_forbidden(redis_server: Server) -> None:
    """A user who loses the permission stores and finds entries as before, without an error."""
    with behind_a_proxy(redis_server) as (storage, _), redis_server.client() as client:
        for prompt in ("one two three", "four five six"):
            put(storage, make(prompt))
        assert storage._server_state.scripts
        client.execute_command("ACL", "SETUSER", "meek", *without_shortcuts(redis_server).split())
        for prompt in ("seven eight nine", "ten eleven twelve"):
            entry = make(prompt)
            put(storage, entry)
            assert entry.vector is not None
            assert [each.entry.prompt for each in storage.search("n", "p", entry.vector, 0.9, 16)] == [prompt]
        assert storage.sizes(["n"]) == {"n": 4}


def test_what_a_script_cannot_do_is_done_without_it() -> None:
    """A store and a search go on without scripts on a server that runs some, but not those of this package."""
    storage = RedisStorage(sync_client=redis.Redis(), layout="vectorset")
    state, entry, epoch = storage._server_state, make(), Epoch("0" * 16, 0)
    about_the_server = state.layout()
    next(about_the_server)
    with suppress(StopIteration):
        about_the_server.send([[1, 0]])
    state.remember("n", epoch.generation)
    refused = redis.ResponseError("ERR script tried accessing undeclared key")
    assert entry.vector is not None
    state.learn_scripts(allowed=True)
    store = storage._writes.put(entry, epoch.number, None)
    first: Any = next(store)
    assert first.commands[0][0] == "EVAL"
    assert isinstance(store.send([refused]), Watch)
    state.learn_scripts(allowed=True)
    search = storage._reads.search(Search("n", "p", entry.vector, 0.9, 4))
    first = next(search)
    assert [command[0] for command in first.commands] == ["HMGET", "EVAL"]
    again: Any = search.send([[epoch.generation.encode(), b"0", None], refused])
    assert [command[0] for command in again.commands] == ["HMGET", "VSIM"]


def both(storage: RedisStorage, entry: Entry, threshold: float = 0.5) -> tuple[str | None, list[str] | None]:
    """Look for an entry and what is similar at once; return the prompts found."""
    assert entry.vector is not None
    search = Search(entry.namespace, entry.partition, entry.vector, threshold, 16)
    recalled = storage.recall_and_search(entry.namespace, entry.key, search)
    exact = None if recalled.candidate is None else recalled.candidate.entry.prompt
    return exact, None if recalled.similar is None else [each.entry.prompt for each in recalled.similar]


def test_both_look_ups_at_once_find_what_they_find_apart(redis_server: Server) -> None:
    """A look-up that also searches finds the exact entry or the similar ones, after changes by others too."""
    redis_server.empty()
    storage, other = storage_on(redis_server), storage_on(redis_server)
    stored, asked_for = make("one two three four"), make("one two three five")
    put(other, make("something else"))
    storage.recall("n", "k")
    assert both(storage, asked_for, 0.9) == (None, [])
    put(other, stored)
    assert both(storage, asked_for) == (None, ["one two three four"])
    put(other, asked_for)
    assert both(storage, asked_for)[0] == "one two three five"
    other.remove("n", [asked_for.key])
    # It was there a moment ago, so nothing else is looked for; from then on it is.
    assert both(storage, asked_for) == (None, None)
    assert both(storage, asked_for) == (None, ["one two three four"])
    other.invalidate("n")
    assert both(storage, asked_for) == (None, None)
    assert both(storage, asked_for) == (None, [])


@pytest.mark.parametrize("secret", [None, b"0123456789abcdef0123456789abcdef"])
def test_what_a_script_stores_is_what_a_transaction_stores(redis_server: Server, secret: bytes | None) -> None:
    """Entries stored by a script can be found, replaced and removed by a storage without scripts, and the reverse."""
    redis_server.empty()
    layout, meek_url = LAYOUTS[redis_server.kind], url_of_user(redis_server, without_shortcuts(redis_server))
    meek = RedisStorage.from_url(meek_url, layout=layout, timeout=5.0, secret=secret)
    able = RedisStorage.from_url(redis_server.url, layout=layout, timeout=5.0, secret=secret)
    put(able, make("the first makes the index"))
    able.recall("n", "k")
    for one, other in ((able, meek), (meek, able)):
        entry = make(f"by {one is able}")
        put(one, entry, ttl=60.0)
        assert entry.vector is not None
        assert [each.entry.prompt for each in other.search("n", "p", entry.vector, 0.99, 16)] == [entry.prompt]
        put(other, entry._replace(tokens=7))
        (again,) = one.search("n", "p", entry.vector, 0.99, 16)
        assert again.entry.tokens == 7
        assert other.remove("n", [entry.key]) == 1
        assert list(one.search("n", "p", entry.vector, 0.99, 16)) == []
    assert able.sizes(["n"]) == meek.sizes(["n"]) == {"n": 1}


def test_an_entry_replaced_by_a_script_leaves_no_trace(redis_server: Server) -> None:
    """An entry that is stored again and again is one version, one vector and one record."""
    redis_server.empty()
    storage, entry = storage_on(redis_server), make("one two three")
    for tokens in range(5):
        put(storage, entry._replace(tokens=tokens), ttl=None if tokens % 2 else 60.0)
    assert storage._server_state.scripts
    with redis_server.client() as client:
        (versions,) = keys(redis_server, "recallm:1:*:z")
        assert client.zcard(versions) == 1
        for index in keys(redis_server, "recallm:1:*:x:*"):
            assert client.execute_command("VCARD", index) == 1
        for stream in keys(redis_server, "recallm:1:*:s:*"):
            assert client.xlen(stream) == 1


def test_a_new_namespace_does_not_have_the_server_asked_anew(redis_server: Server) -> None:
    """The first miss of a namespace takes as many round trips as begin its epoch more than any other."""
    with behind_a_proxy(redis_server) as (storage, proxy):
        put(storage, make("one two three"))
        found(storage, make("one two three"))
        storage.recall("n", "k")
        entry = make("one two three", namespace="m")
        proxy.reset()
        epoch = storage.recall("m", entry.key).epoch
        assert proxy.traffic.round_trips == 4
        assert found(storage, entry) == []
        assert storage.put(entry, epoch, 60.0).kept
        assert proxy.traffic.round_trips == 6


def test_room_is_made_in_the_round_trip_that_stores(redis_server: Server) -> None:
    """In a full namespace a put takes one round trip; who makes room for it leaves nothing behind."""
    with behind_a_proxy(redis_server, max_entries=3) as (storage, proxy):
        for at in range(3):
            assert put(storage, make(f"prompt {at}", partition=f"p{at}")) == 0
        found(storage, make("prompt 0"))  # by now the index is known to be there
        assert put(storage, make("prompt 3", partition="p3")) == 1
        epoch = storage.recall("n", "k").epoch
        for at in range(4, 9):
            proxy.reset()
            stored = storage.put(make(f"prompt {at}", partition=f"p{at}"), epoch, 60.0 if at % 2 else None)
            assert (stored.kept, stored.evicted) == (True, 1)
            assert proxy.traffic.round_trips == 1
        assert storage.sizes(["n"]) == {"n": 3}
    with redis_server.client() as client:
        (dims,) = client.keys("recallm:1:*:d")
        if LAYOUTS[redis_server.kind] != "search":
            assert client.hlen(dims) == len(keys(redis_server, "recallm:1:*:[xs]:*")) == 3
    assert len(keys(redis_server, "recallm:1h:*")) == 3


def test_a_crowd_of_tasks_shares_a_few_connections(redis_server: Server) -> None:
    """Two hundred operations at once are all performed, on no more connections than go on at the same time."""
    with behind_a_proxy(redis_server) as (storage, proxy):
        proxy.round_trip_ms = 2.0

        async def crowd() -> list[Any]:
            recalls = [storage.aperform(Recall("n", f"key {at}")) for at in range(200)]
            try:
                return await asyncio.gather(*recalls)
            finally:
                await storage.aclose()

        assert len({recalled.epoch for recalled in asyncio.run(crowd())}) == 1
        assert proxy.traffic.connections <= AT_ONCE


def test_whoever_removes_does_not_wait_behind_a_crowd(redis_server: Server) -> None:
    """A removal and an invalidation are through while most of a thousand look-ups still wait for their turn."""
    with behind_a_proxy(redis_server) as (storage, proxy):
        put(storage, make("one two three"))
        proxy.round_trip_ms = 5.0

        async def crowd() -> tuple[int, int, bool]:
            recalls = [asyncio.ensure_future(storage.aperform(Recall("n", f"key {at}"))) for at in range(1000)]
            try:
                await asyncio.sleep(0)
                removed = await storage.aperform(Remove("n", [make("one two three").key]))
                invalidated = await storage.aperform(Invalidate("n"))
                return removed, invalidated, recalls[-1].done()
            finally:
                await asyncio.gather(*recalls)
                await storage.aclose()

        assert asyncio.run(crowd()) == (1, 0, False)


def test_a_crowd_of_removals_shares_a_few_connections(redis_server: Server) -> None:
    """Two hundred removals at once are all performed, on no more connections than go on at the same time."""
    with behind_a_proxy(redis_server) as (storage, proxy):
        entries = [make(f"prompt {at}") for at in range(200)]
        for entry in entries:
            put(storage, entry)
        before = proxy.traffic.connections
        proxy.round_trip_ms = 2.0

        async def crowd() -> list[Any]:
            try:
                return await asyncio.gather(*(storage.aperform(Remove("n", [entry.key])) for entry in entries))
            finally:
                await storage.aclose()

        assert asyncio.run(crowd()) == [1] * 200
        assert proxy.traffic.connections - before <= AT_ONCE


def test_room_is_made_after_a_script_that_the_server_has_forgotten(redis_server: Server) -> None:
    """A namespace is not left with more entries than it may have if the server knows the script that makes room only.

    A server keeps the scripts that were sent lately, so it may forget one of two.
    """
    redis_server.empty()
    storage = storage_on(redis_server, max_entries=3)
    for at in range(4):
        put(storage, make(f"prompt {at}"))
    found(storage, make("prompt 0"))
    epoch = storage.recall("n", "k").epoch
    with redis_server.client() as client:
        client.script_flush()
        client.script_load(EVICT)
    storage.put(make("prompt 4"), epoch, None)
    assert storage.sizes(["n"]) == {"n": 3}


def test_commands_are_counted_however_they_are_cut() -> None:
    """The proxy's counter counts commands whose bytes come one by one, line ends within arguments included."""
    sent = b"*2\r\n$3\r\nGET\r\n$4\r\na\r\n*\r\n" * 3
    for size in (1, 2, 3, 7, len(sent)):
        counter = CommandCounter()
        assert sum(counter.feed(sent[at : at + size]) for at in range(0, len(sent), size)) == 3
