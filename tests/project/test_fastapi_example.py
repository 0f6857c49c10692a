"""The example service: two workers share one cache."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from support.redis_servers import COMMANDS, free_port, running

pytestmark = [pytest.mark.model, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi_redis.py"
QUESTIONS = ["How do I reset my password?", "How can I reset my password?"]


@contextmanager
def service(redis_url: str) -> Iterator[str]:
    """Run the service until its workers answer; yield its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "REDIS_URL": redis_url, "PORT": str(port)}
    process = subprocess.Popen([sys.executable, str(EXAMPLE)], env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{address}/explain", params={"question": "Ready?", "tenant": "none"}, timeout=10)
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline, "the service does not start"
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def ask(address: str, question: str, tenant: str) -> tuple[str, int]:
    """Return the answer and the worker that gave it."""
    reply = httpx.get(f"{address}/ask", params={"question": question, "tenant": tenant}, timeout=20).json()
    return reply["answer"], reply["worker"]


@pytest.mark.redis
def test_two_workers_share_one_cache() -> None:
    """An answer that one worker computed is served by both to its tenant only, until one of them invalidates it."""
    if not COMMANDS:
        pytest.skip("no Redis server is installed")
    with running(next(iter(COMMANDS))) as server, service(server.url) as address:
        first, computed_by = ask(address, QUESTIONS[0], "acme")
        workers: set[int] = set()
        deadline = time.monotonic() + 30
        while len(workers) < 2 and time.monotonic() < deadline:
            answer, worker = ask(address, QUESTIONS[len(workers) % 2], "acme")
            assert answer == first
            workers.add(worker)
        assert computed_by in workers
        assert len(workers) == 2
        assert ask(address, QUESTIONS[0], "umbrella")[0] != first
        removed = httpx.post(f"{address}/forget", params={"question": QUESTIONS[0], "tenant": "acme"}, timeout=20)
        assert removed.json() == {"removed": 1}
        for _ in range(4):
            outcome = httpx.get(f"{address}/explain", params={"question": QUESTIONS[1], "tenant": "acme"}, timeout=20)
            assert outcome.json()["outcome"] == "miss"


def test_the_service_answers_without_its_cache() -> None:
    """The example service answers although there is no Redis server."""
    with service("redis://127.0.0.1:1/0") as address:
        answers = [ask(address, QUESTIONS[0], "acme")[0] for _ in range(3)]
    assert all("answers acme" in answer for answer in answers)
