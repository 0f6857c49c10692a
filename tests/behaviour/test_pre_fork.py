"""Pre-fork servers: gunicorn's workers answer from the cache, wherever the application was loaded."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.programs import ROOT
from support.redis_servers import Server, free_port

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn needs fork")]

MAKING = """
import asyncio, json, os
from recallm import CacheConfig, RedisStorage, ThreadSafeInMemoryStorage, semantic_cache
from recallm.testing import FakeEmbedder

storages = {"shared": RedisStorage.from_url(os.environ["ANSWERS"], timeout=5), "own": ThreadSafeInMemoryStorage()}
# A busy machine is no failure.
config = CacheConfig(cache_timeout_seconds=5.0)
options = {"context": {}, "embedder": FakeEmbedder(), "guards": (), "version": "1", "config": config}

def report(answers):
    stats = [ask.stats() for ask in asks]
    troubles = [{**each.errors, **each.bypasses} for each in stats]
    hits = [each.hits for each in stats]
    return json.dumps({"answers": answers, "pid": os.getpid(), "hits": hits, "troubles": troubles})
"""

APPLICATIONS = {
    "wsgi": MAKING
    + """
def cached(name):
    @semantic_cache(storage=storages[name], namespace=name, **options)
    def ask(prompt: str) -> str:
        return f"answer to {prompt}"
    return ask

asks = [cached(name) for name in storages]
# Before a fork, if the server loads this before it forks: threads, connections and locks are there.
for ask in asks:
    ask("the very first")

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [report([ask(environ["QUERY_STRING"]) for ask in asks]).encode()]
""",
    "asgi": MAKING
    + """
def cached(name):
    @semantic_cache(storage=storages[name], namespace=name, **options)
    async def ask(prompt: str) -> str:
        return f"answer to {prompt}"
    return ask

asks = [cached(name) for name in storages]

async def begin():
    for ask in asks:
        await ask("the very first")

# An event loop runs already if the server loads this after it forks.
try:
    asyncio.get_running_loop()
except RuntimeError:
    asyncio.run(begin())

async def application(scope, receive, send):
    if scope["type"] == "http":
        body = report([await ask(scope["query_string"].decode()) for ask in asks]).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})
""",
}

KINDS: Mapping[str, tuple[str, str, str]] = {
    "sync": ("wsgi", "sync", "gunicorn"),
    "gthread": ("wsgi", "gthread", "gunicorn"),
    "gevent": ("wsgi", "gevent", "gevent"),
    "uvicorn": ("asgi", "uvicorn_worker.UvicornWorker", "uvicorn_worker"),
}
"""Kind of worker → the application it runs, gunicorn's name for it, and the package that it needs."""

WORKERS = 2

STARTING_SECONDS = 30.0

STOPPING_SECONDS = 10.0


@contextmanager
def serving(kind: str, folder: Path, *options: str, **environ: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run gunicorn with two workers for a while, its log in the file ``log``.

    Yields:
        Its address, and its first process.
    """
    application, worker, _ = KINDS[kind]
    (folder / "served.py").write_text(APPLICATIONS[application], encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "gunicorn",
        f"--workers={WORKERS}",
        f"--worker-class={worker}",
        *options,
    ]
    if kind == "gthread":
        command.append("--threads=4")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "HOME": str(folder),
        **environ,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--bind={address}", "--timeout=20", "served:application"],
            cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield f"http://{address}", process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def get(url: str) -> Any:
    """Return what a server replies."""
    with urllib.request.urlopen(url, timeout=30) as reply:  # noqa: S310  # a server of this test
        return json.load(reply)


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once each worker of a server has replied: one that is told to stop while it starts may never do so."""
    deadline = time.monotonic() + STARTING_SECONDS
    replied: set[int] = set()
    while len(replied) < WORKERS:
        try:
            replied.add(get(url)["pid"])
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            time.sleep(0.05)
        assert time.monotonic() < deadline, f"{len(replied)} of {WORKERS} workers replied"


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["loaded after the fork", "loaded before the fork"])
@pytest.mark.parametrize("kind", KINDS)
def test_workers_answer_from_the_cache(
    kind: str, options: tuple[str, ...], redis_server: Server, tmp_path: Path
) -> None:
    """Fifty requests, eight at a time, get their answers, from the cache but for the first; then the server stops."""
    for package in ("gunicorn", KINDS[kind][2]):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    redis_server.empty()
    prompts = [f"prompt-{number % 5}" for number in range(50)]
    with serving(kind, tmp_path, *options, ANSWERS=redis_server.url) as (address, process):
        wait_until_ready(f"{address}/?the-first", process)
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda prompt: get(f"{address}/?{prompt}"), prompts))
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOPPING_SECONDS) == 0
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert [reply["answers"] for reply in replies] == [[f"answer to {prompt}"] * 2 for prompt in prompts], log
    last = {reply["pid"]: reply for reply in replies}
    assert all(trouble == {} for reply in last.values() for trouble in reply["troubles"]), last
    # Each of two workers may compute each of the five once, at the same moment.
    shared, own = (sum(reply["hits"][place] for reply in last.values()) for place in (0, 1))
    assert shared >= 30, (last, log)
    assert own >= 30, (last, log)
    assert not re.search(r"TIMEOUT|CRITICAL|ERROR|Traceback|Exception", log), log
