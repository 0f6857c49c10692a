"""Forks: in a child no lock is held and no thread is waited for, whatever the parent was doing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import ROOT

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
print(held >= 2, forked())
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


def test_a_thread_may_fork() -> None:
    """A child forked by a thread that is not the main one, and a child of that child, answer."""
    program = """
statuses = []

def fork_twice() -> None:
    child = os.fork()
    if child == 0:
        os._exit(call_all() or forked())
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

thread = threading.Thread(target=fork_twice)
thread.start()
thread.join()
print(statuses)
"""
    assert run(program) == "[0]"


def test_a_task_may_fork() -> None:
    """A child forked within an embedding, while its parent's call waits for it, answers."""
    program = """
statuses = []

class Forking(FakeEmbedder):
    def embed(self, text):
        if text == "fork now":
            statuses.append(forked())
        return super().embed(text)

@semantic_cache(context={}, embedder=Forking(), guards=())
def forks(prompt: str) -> str:
    return "an answer"

print(forks("fork now"), statuses)
"""
    assert run(program) == "an answer [0]"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_of_a_pool_answer(method: str, tmp_path: Path) -> None:
    """The processes of a `multiprocessing` pool answer, however they are started and though their parent has called."""
    program = (
        BEGINNING.removesuffix("call_all()\n")
        + """
import multiprocessing, sys
if __name__ == "__main__":
    call_all()
    signal.alarm(100)
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(set(pool.starmap(call_all, [()] * 8)))
"""
    )
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "program.py", method]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("{0}", 0), done.stderr


def test_storages_of_children_are_others() -> None:
    """No two children begin the same epoch in their copies of a storage, and all of them keep what was stored."""
    program = """
from recallm import InMemoryStorage
from recallm.testing.fakes import fake_entry

storage, entry = InMemoryStorage(), fake_entry()
storage.put(entry, storage.recall("n", "").epoch, None)
reading, writing = os.pipe()
for _ in range(3):
    if os.fork() == 0:
        signal.alarm(20)
        kept = storage.recall("n", entry.key).candidate is not None
        storage.invalidate("n")
        os.write(writing, f"{kept} {storage.recall('n', '').epoch}\\n".encode())
        os._exit(0)
for _ in range(3):
    os.wait()
storage.invalidate("n")
told = os.read(reading, 10_000).decode().split()
print(told[::2], len({*told[1::2], str(storage.recall("n", "").epoch)}))
"""
    assert run(program) == "['True', 'True', 'True'] 4"


def test_storages_that_a_thread_was_changing_begin_empty_in_a_child() -> None:
    """If another thread is in the middle of an operation at the fork, every storage of the child is empty and works."""
    program = """
from recallm import InMemoryStorage, ThreadSafeInMemoryStorage
from recallm.testing.fakes import fake_entry

within, go_on = threading.Event(), threading.Event()

def clock() -> float:
    if threading.current_thread() is not threading.main_thread():
        within.set()
        go_on.wait(60)
    return 0.0

storages = [ThreadSafeInMemoryStorage(clock=clock), ThreadSafeInMemoryStorage(), InMemoryStorage()]
epochs = [each.recall("n", "").epoch for each in storages]
storages[1].put(fake_entry(), epochs[1], None)
thread = threading.Thread(target=storages[0].put, args=(fake_entry(), epochs[0], None))
thread.start()
within.wait(20)
child = os.fork()
if child == 0:
    signal.alarm(20)
    right = not any(each.put(fake_entry(), epoch, None).kept for each, epoch in zip(storages, epochs))
    right &= all(each.put(fake_entry(), each.recall("n", "").epoch, None).kept for each in storages)
    right &= [len(each) for each in storages] == [1, 1, 1]
    os._exit(0 if right else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go_on.set()
thread.join()
print(status, [len(each) for each in storages])
"""
    assert run(program) == "0 [1, 1, 0]"
