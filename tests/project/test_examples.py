"""The examples do what they say, with the real embedding model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.example_runs import EXAMPLES, FOLDER, Example, cells, is_installed, run

pytestmark = pytest.mark.model

COMMAND = re.compile(r'# pip install -e "\.\[[\w,]+\]".* && (?:[A-Z_]+=\S+ )?(?:python|jupyter lab) examples/(\S+)')
"""The first line of an example: what to install, and how to run it, from the checkout's folder."""

PROGRAMS = sorted(path for path in FOLDER.iterdir() if path.suffix in (".py", ".ipynb"))

WITHOUT_WAITING = """
import runpy, sys, time
time.sleep = lambda seconds: None
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""Runs a program whose stand-in for a language model answers at once."""


def test_quickstart_answers_rewordings_and_nothing_else() -> None:
    """The quickstart's sixty questions bring at least fifteen semantic hits, none of them wrong."""
    command = [sys.executable, "-c", WITHOUT_WAITING, str(FOLDER / "quickstart.py")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=170)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    summary = re.search(r"(\d+) semantic hits, (\d+) wrong", finished.stdout)
    assert summary is not None
    assert int(summary[1]) >= 15
    assert summary[2] == "0"
    assert len(re.findall(r"^(?:hit|miss)", finished.stdout, re.MULTILINE)) == 60


def first_line(path: Path) -> str:
    """Return the first line of a program, or of a notebook's first cell."""
    text = path.read_text(encoding="utf-8")
    return str(json.loads(text)["cells"][0]["source"][0] if path.suffix == ".ipynb" else text).splitlines()[0]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_an_example_begins_with_the_command_that_runs_it(path: Path) -> None:
    """Its first line installs what it imports, from a clean environment, and runs it."""
    command = COMMAND.fullmatch(first_line(path))
    assert command is not None
    assert command[1] == path.name


def test_every_example_is_run_by_a_test() -> None:
    """No example is there that nobody runs."""
    others = {"quickstart.py", "fastapi_redis.py", "notebook.ipynb"}
    assert {path.name for path in PROGRAMS} == {example.file for example in EXAMPLES} | others


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.file)
def test_an_example_calls_the_model_as_often_as_it_says(example: Example) -> None:
    """With the real SDK, on a server made for it, rewordings are hits and whatever else differs asks the model."""
    if not is_installed(example.package):
        pytest.skip(f"{example.package} is not installed; it is in the dependency group sdk")
    ran = run(example)
    assert ran.is_as_wanted(example), ran


RUN_CELLS = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.example_runs import cells
time.sleep = lambda seconds: None
names = globals()
for code, value in cells(Path(sys.argv[2])):
    exec(compile(code, "<cell>", "exec"), names)
    if value is not None:
        print(repr(eval(compile(value, "<cell>", "eval"), names)))
"""
"""Runs a notebook's cells one after the other, as a kernel does, and prints their values."""


def test_the_notebook_runs() -> None:
    """Each cell of the notebook runs; rewordings are hits, and a changed global is noticed."""
    command = [sys.executable, "-c", RUN_CELLS, str(Path(__file__).parents[1]), str(FOLDER / "notebook.ipynb")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=170)
    assert finished.returncode == 0, finished.stderr
    first, again, explained, formal, stats = finished.stdout.split("\n", 4)
    assert first == again == "'(a friendly answer to: How do I reset my password?)'"
    assert explained.startswith("Explanation(outcome='miss', reason='unlike'")
    assert formal == "'(a formal answer to: How can I reset my password?)'"
    assert "hits            1" in stats
    assert stats.endswith("\n1\n")


def test_the_cells_of_a_notebook_are_read(tmp_path: Path) -> None:
    """Lines for IPython are left out, text is skipped, and the last expression is the value of its cell."""
    notebook = tmp_path / "small.ipynb"
    sources = [
        ("code", ["%pip install x\n", "a = 1\n", "a + 1"]),
        ("markdown", ["a"]),
        ("code", ["b = 2"]),
        ("code", []),
    ]
    rows = [{"cell_type": kind, "source": source} for kind, source in sources]
    notebook.write_text(json.dumps({"cells": rows}), encoding="utf-8")
    found = [(len(code.body), value is not None) for code, value in cells(notebook)]
    assert found == [(1, True), (1, False), (0, False)]
