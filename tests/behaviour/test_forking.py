"""Forks: in a child no lock is held and no thread is waited for, whatever the parent was doing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

BEGINNING = """
import os, signal, threading
from recallm import registry, semantic_cache
from recallm.concurrency import forking
from recallm.testing import FakeEmbedder

@semantic_cache(context={}, embedder=FakeEmbedder(), guards=(), ttl=60)
def ask(prompt: str) -> str:
    return "an answer"

def call_all() -> int:
    signal.alarm(20)  # ends a child that hangs
    answers = {ask("a prompt"), ask("prompt a"), ask(f"another of {os.getpid()}"), ask.refresh("a prompt")}
    ask.explain("a prompt")
    stats = ask.stats()
    ask.invalidate("a prompt")
    return 0 if answers == {"an answer"} and stats.hits + stats.misses >= 4 and not stats.errors else 1

def forked() -> int:
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = call_all()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

call_all()
"""


def run(program: str) -> str:
    """Return what a program prints."""
    command = [sys.executable, "-W", "ignore", "-c", BEGINNING + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_child_uses_what_threads_had_locked() -> None:
    """A forked child's calls work although another thread held every lock of recallm at the fork."""
    program = """
held, locked, go_on = 0, threading.Event(), threading.Event()

def hold_all() -> None:
    global held
    for owner in tuple(forking._ALL.values()):
        for name in ("_lock", "_loading"):
            lock = getattr(owner, name, None)
            if hasattr(lock, "acquire") and lock.acquire(blocking=False):
                held += 1
    locked.set()
    go_on.wait(60)

threading.Thread(target=hold_all, daemon=True).start()
locked.wait(20)
print(held >= 8, forked())
os._exit(0)
"""
    # os._exit does not flush.
    assert run(program.replace("os._exit(0)\n", "import sys; sys.stdout.flush(); os._exit(0)\n")) == "True 0"


def test_children_of_a_busy_process_answer() -> None:
    """Children forked at any moment while four threads call a cached function all answer."""
    program = """
stop = threading.Event()

def keep_calling(number: int) -> None:
    repetition = 0
    while not stop.is_set():
        repetition += 1
        ask(f"prompt {number} {repetition % 50}")
        ask(f"prompt {repetition % 50} {number}")
        if repetition % 20 == 0:
            ask.invalidate(f"prompt {number} {repetition % 50}")

threads = [threading.Thread(target=keep_calling, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
print({forked() for _ in range(40)})
stop.set()
"""
    assert run(program) == "{0}"
