"""Recording: what is compared is written down, and a call never pays for it."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import recallm
from recallm import InMemoryStorage, Pair, semantic_cache
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.evaluation.pairs import labelled
from recallm.records import Compared
from recallm.telemetry import recording
from recallm.testing import Clock, FakeEmbedder

COMPARED = Compared("prompt", "cached", 0.9, "miss")


@pytest.fixture(autouse=True)
def _nothing_stays_on() -> Iterator[None]:
    yield
    assert recording.active_recordings() == ()


def cached(**options: Any) -> Callable[[str], str]:
    """Return a cached function over a storage of its own."""
    chosen = {"threshold": 0.9, "guards": (), "storage": InMemoryStorage(), **options}

    @semantic_cache(context={}, embedder=FakeEmbedder(), **chosen)
    def ask(question: str) -> str:
        return question.upper()

    return ask


def lines(path: Path) -> list[dict[str, Any]]:
    """Return what was written."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_writes_what_was_served_or_came_nearest(tmp_path: Path) -> None:
    """A recording has a line for a similar hit, and for a miss with a candidate below the threshold."""
    path, ask = tmp_path / "pairs.jsonl", cached()
    with recallm.record(path) as under_way:
        ask("how do I cancel my plan")
        ask("how do I my plan cancel")
        ask("how do I cancel my flight")
    hit, miss = lines(path)
    assert (hit["prompt"], hit["cached_prompt"]) == ("how do I my plan cancel", "how do I cancel my plan")
    assert (hit["similarity"], hit["outcome"], hit["vetoed_by"], hit["same"]) == (pytest.approx(1.0), "hit", None, None)
    assert (miss["cached_prompt"], miss["outcome"], miss["vetoed_by"]) == ("how do I cancel my plan", "miss", None)
    assert 0.7 <= miss["similarity"] < 0.9
    assert (under_way.written, under_way.dropped) == (2, 0)


def test_writes_nothing_where_there_is_nothing_to_label(tmp_path: Path) -> None:
    """The very prompt again, a first call, and a candidate that is not alike give no line."""
    path, ask = tmp_path / "pairs.jsonl", cached()
    with recallm.record(path):
        ask("how do I cancel my plan")
        ask("how do I cancel my plan")
        ask("weather")
    assert lines(path) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"guards": (lambda prompt, cached_prompt: False,)}, "<lambda>"),
        ({"verify": lambda prompt, cached_prompt, response: False}, "verify"),
    ],
)
def test_tells_who_refused_the_best_candidate(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    """A line names the guard that refused the best candidate, or the verifier."""
    path, ask = tmp_path / "pairs.jsonl", cached(**options)
    with recallm.record(path):
        ask("how do I cancel my plan")
        ask("how do I my plan cancel")
    (line,) = lines(path)
    assert (line["outcome"], line["vetoed_by"]) == ("miss", reason)


def test_what_is_kept_beyond_its_expiry_is_not_compared_with(tmp_path: Path) -> None:
    """An expired answer, kept in case the function raises, could not be served: it has no line, even of its prompt."""
    ask = cached(storage=InMemoryStorage(clock=(clock := Clock())), ttl=10, stale_if_error=100)
    ask("how do I cancel my plan")
    clock.advance(20)
    with recallm.record(tmp_path / "pairs.jsonl"):
        ask("how do I my plan cancel")
        clock.advance(20)
        ask("how do I my plan cancel")
    assert lines(tmp_path / "pairs.jsonl") == []


def test_recording_changes_no_outcome(tmp_path: Path) -> None:
    """The same calls hit and miss with a recording and without."""
    questions = ["a b c d", "b a c d", "a b c x", "a b y x", "z b c d", "a b c d"]

    def outcomes() -> list[int]:
        ask = cached(guards=(lambda prompt, cached_prompt: "x" not in prompt,))
        return [(ask(question), ask.stats().hits)[1] for question in questions]  # type: ignore[attr-defined]

    plain = outcomes()
    with recallm.record(tmp_path / "pairs.jsonl"):
        assert outcomes() == plain


def test_explaining_is_not_recorded(tmp_path: Path) -> None:
    """Explaining gives no line, as nobody called."""
    ask: Any = cached()
    ask("how do I cancel my plan")
    with recallm.record(tmp_path / "pairs.jsonl") as under_way:
        ask.explain("how do I my plan cancel")
    assert under_way.written == 0


async def _asked(ask: Any, *questions: str) -> None:
    for question in questions:
        await ask(question)


def test_async_calls_are_recorded(tmp_path: Path) -> None:
    """Async calls are recorded as sync ones are."""
    import asyncio

    @semantic_cache(context={}, embedder=FakeEmbedder(), storage=InMemoryStorage(), guards=())
    async def ask(question: str) -> str:
        return question.upper()

    with recallm.record(tmp_path / "pairs.jsonl"):
        asyncio.run(_asked(ask, "how do I cancel", "do I how cancel"))
    assert [line["outcome"] for line in lines(tmp_path / "pairs.jsonl")] == ["hit"]


def test_once_labelled_the_file_is_read_as_pairs(tmp_path: Path) -> None:
    """A recording in which one null was replaced by true is read as one pair; the other line is left out."""
    path, ask = tmp_path / "pairs.jsonl", cached()
    with recallm.record(path):
        ask("how do I cancel my plan")
        ask("how do I my plan cancel")
        ask("how do I cancel my flight")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"same": null', '"same": true', 1), encoding="utf-8")
    assert labelled(path).pairs == (Pair("how do I my plan cancel", "how do I cancel my plan", True),)
    assert labelled(path).unlabelled == 1
    assert recallm.evaluate(path, embedder=FakeEmbedder(), guards=()).rows[-1].bare.right == 1


def test_only_the_owner_may_read_a_new_file(tmp_path: Path) -> None:
    """A new recording is readable by its owner only; an old one is appended to."""
    path = tmp_path / "pairs.jsonl"
    for _ in range(2):
        with recallm.record(path) as under_way:
            under_way.enqueue(COMPARED)
    assert len(lines(path)) == 2
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_any_text_can_be_written(tmp_path: Path) -> None:
    """Half a surrogate pair can be written, and other scripts stay readable."""
    path = tmp_path / "pairs.jsonl"
    with recallm.record(path) as under_way:
        for prompt in ("größer\u2028\n", "\ud800"):
            under_way.enqueue(Compared(prompt, "", 0.9, "miss"))
    assert [line["prompt"] for line in lines(path)] == ["größer\u2028\n", "\ud800"]
    assert "größer" in path.read_text(encoding="utf-8")


def test_a_slow_disk_costs_lines_not_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk hangs a bounded number of lines waits, and the rest is dropped and counted."""
    written, hang, write = threading.Event(), threading.Event(), os.write

    def slow(file: int, line: bytes) -> int:
        written.set()
        hang.wait(10)
        return write(file, line)

    monkeypatch.setattr("recallm.telemetry.recording.os.write", slow)
    with recallm.record(tmp_path / "pairs.jsonl") as under_way:
        under_way.enqueue(COMPARED)
        assert written.wait(10)
        for _ in range(recording.QUEUED + 5):
            under_way.enqueue(COMPARED)
        assert under_way.dropped == 5
        hang.set()
    assert under_way.written == recording.QUEUED + 1


def test_a_full_disk_costs_lines_and_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is logged once, without prompts, and the calls go on."""

    def full(file: int, line: bytes) -> int:
        raise OSError(28, "No space left on device", line.decode())

    monkeypatch.setattr("recallm.telemetry.recording.os.write", full)
    ask = cached()
    with caplog.at_level(logging.WARNING, "recallm"), recallm.record(tmp_path / "pairs.jsonl") as under_way:
        ask("how do I cancel my plan")
        assert ask("how do I my plan cancel") == "HOW DO I CANCEL MY PLAN"
        ask("plan my cancel I do how")
    assert (under_way.written, under_way.dropped) == (0, 2)
    assert [record.getMessage() for record in caplog.records] == ["recording to a file failed with OSError"]


def test_several_files_may_be_recorded_to_each_once(tmp_path: Path) -> None:
    """Recording to the same file again ends the recording under way: no line is written twice."""
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    first, again, beside = recallm.record(one), recallm.record(str(one)), recallm.record(other)
    ask = cached()
    ask("how do I cancel my plan")
    ask("how do I my plan cancel")
    for each in (first, again, beside, beside):
        each.stop()
    assert (len(lines(one)), len(lines(other))) == (1, 1)
    assert "stopped: 1 written, 0 dropped" in repr(again)


def test_after_the_end_nothing_is_written(tmp_path: Path) -> None:
    """A call that was under way when the recording stopped writes nothing."""
    under_way = recallm.record(tmp_path / "pairs.jsonl")
    under_way.stop()
    under_way.enqueue(COMPARED)
    assert lines(tmp_path / "pairs.jsonl") == []


def test_a_recording_that_ended_leaves_no_thread(tmp_path: Path) -> None:
    """A service that records for a minute now and then does not gather threads."""
    before = set(threading.enumerate())
    with recallm.record(tmp_path / "pairs.jsonl") as under_way:
        under_way.enqueue(COMPARED)
        writers = set(threading.enumerate()) - before
    assert [writer.name for writer in writers] == ["recallm-record"]
    for writer in writers:
        writer.join(10)
        assert not writer.is_alive()


def test_what_waits_is_written_when_the_program_ends(tmp_path: Path) -> None:
    """Lines that wait are written when the program ends without a stop; forked children write theirs."""
    program = """
import os, sys, recallm
from recallm.records import Compared
recording = recallm.record(sys.argv[1])
for _ in range(100):
    recording.enqueue(Compared("prompt", "cached", 0.9, "miss"))
if hasattr(os, "fork"):
    child = os.fork()
    if child == 0:
        recording.enqueue(Compared("of the child", "cached", 0.9, "miss"))
        recording.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
    path = tmp_path / "pairs.jsonl"
    finished = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    prompts = [line["prompt"] for line in lines(path)]
    assert prompts.count("prompt") == 100
    assert prompts.count("of the child") == int(hasattr(os, "fork"))


def test_what_is_compared_after_the_main_thread_has_ended_is_written(tmp_path: Path) -> None:
    """Threads that outlive the main one, and functions run at exit, may make the first calls of a recording."""
    program = """
import atexit, sys, threading, recallm
from recallm.records import Compared
recording = recallm.record(sys.argv[1])
def compare(prompt):
    recording.enqueue(Compared(prompt, "cached", 0.9, "miss"))
def outlive():
    threading.main_thread().join()
    compare("of a thread")
threading.Thread(target=outlive).start()
atexit.register(compare, "at exit")
"""
    path = tmp_path / "pairs.jsonl"
    finished = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert sorted(line["prompt"] for line in lines(path)) == ["at exit", "of a thread"]


@pytest.mark.parametrize(("path", "error"), [(5, InvalidTypeError), (" ", InvalidValueError), ("no/folder", OSError)])
def test_a_path_that_cannot_be_written_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any, error: type[Exception]
) -> None:
    """A path that cannot be written raises at once, and nothing records."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        recallm.record(path)
