"""``explain``: what a cached function would do with a call, by the outcome as the exit code, without calling it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands.conftest import Ran
from support import small_app

Run = Callable[..., Ran]

ANSWER = "support.small_app:answer"


def kwargs(**given: object) -> str:
    """Return arguments as JSON."""
    return json.dumps(given)


def test_a_miss_names_the_namespace_and_exits_with_one(run: Run) -> None:
    """Of a call that would miss, the reason, the threshold and the namespace are told, and the exit code is 1."""
    ran = run("explain", ANSWER, "--kwargs", kwargs(question="one two"))
    assert ran.code == 1
    assert [line.split(maxsplit=1) for line in ran.out.splitlines()] == [
        ["outcome", "miss: empty"],
        ["threshold", "0.9200"],
        ["namespace", "support.small_app.answer"],
    ]


def test_a_hit_is_told_with_its_provenance_and_exits_with_zero(run: Run) -> None:
    """Of a call that would hit, the similarity, the cached prompt and its age are told, and nothing counted."""
    small_app.answer("one two")
    small_app.clock.advance(90)
    before = small_app.answer.stats()
    ran = run("explain", ANSWER, "--kwargs", kwargs(question="two one"))
    assert ran.code == 0
    told = [tuple(re.split(r"  +", line)) for line in ran.out.splitlines()]
    provenance = {("similarity", "1.0000"), ("cached prompt", "one two"), ("age", "1 min 30 s")}
    assert {("outcome", "hit: similar"), *provenance} <= set(told)
    assert small_app.answer.stats() == before


def test_what_keeps_two_calls_apart_is_told(run: Run) -> None:
    """With the arguments of another call, `explain` names what else than the prompt differs."""
    words = ("explain", ANSWER, "--kwargs", kwargs(question="one", user="ada"))
    ran = run(*words, "--unlike", kwargs(question="two", user="bob"))
    assert "differs    context['user'], user" in ran.out
    assert run(*words, "--unlike", kwargs(question="two", user="ada"), "--json").json["differs"] == []


def test_json_has_every_field(run: Run) -> None:
    """With `--json`, all fields of the explanation are printed; the arguments may be positional."""
    small_app.answer("one two")
    ran = run("explain", ANSWER, "--args", '["one two"]', "--json")
    assert ran.code == 0
    assert {name: ran.json[name] for name in ("outcome", "reason", "exact", "similarity", "cached_prompt")} == {
        "outcome": "hit",
        "reason": "exact",
        "exact": True,
        "similarity": 1.0,
        "cached_prompt": "one two",
    }
    assert {"threshold", "vetoed_by", "namespace", "age", "detail", "differs"} <= ran.json.keys()


def test_a_bypass_is_told_with_its_detail_and_exits_with_three(run: Run) -> None:
    """Of a call that cannot be cached, the reason and what is behind it are told, and the exit code is 3."""
    ran = run("explain", ANSWER, "--kwargs", kwargs(query="one two"))
    assert ran.code == 3
    assert "bypass: arguments" in ran.out
    assert "missing a required argument: 'question'" in ran.out


def test_an_async_function_is_explained(run: Run) -> None:
    """An async function is explained on an event loop."""
    messages = [{"role": "user", "content": "hello"}]
    assert run("explain", "support.small_app:chat", "--kwargs", kwargs(messages=messages)).code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("support.small_app:plain",), "is a function; name a function that recallm caches"),
        (("support.small_app:nothing",), "has no 'nothing'"),
        (("no.such.module:answer",), "there is no module 'no'"),
        (("support.small_app",), "use module:attribute"),
        ((ANSWER, "--kwargs", "{question"), "--kwargs is no JSON"),
        ((ANSWER, "--kwargs", "[1]"), "--kwargs is a JSON list; write --kwargs"),
        ((ANSWER, "--args", "{}"), "--args is a JSON dict; write --args"),
    ],
    ids=["not cached", "no attribute", "no module", "no colon", "no JSON", "a list", "an object"],
)
def test_mistakes_are_told_in_one_line(run: Run, words: tuple[str, ...], message: str) -> None:
    """A mistake in the command is told in one line on standard error, and the exit code is 2."""
    ran = run("explain", *words)
    assert ran.code == 2
    assert ran.out == ""
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_the_module_is_imported_from_the_working_folder(tmp_path: Path) -> None:
    """The function's module may lie in the folder in which the command is run, as a script's would."""
    (tmp_path / "my_app.py").write_text(
        "from recallm import semantic_cache\n"
        "@semantic_cache(context={}, threshold='exact')\n"
        "def answer(question: str) -> str:\n"
        "    raise AssertionError('called')\n",
        encoding="utf-8",
    )
    root = str(Path(__file__).parents[2])
    words = ["-P", "-m", "recallm", "explain", "my_app:answer", "--kwargs", kwargs(question="hello")]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "miss: exact_only" in done.stdout
