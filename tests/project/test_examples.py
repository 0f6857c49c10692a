"""The examples do what they say, with the real embedding model."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

EXAMPLES = Path(__file__).parents[2] / "examples"

WITHOUT_WAITING = """
import runpy, sys, time
time.sleep = lambda seconds: None
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""Runs a program whose stand-in for a language model answers at once."""


def test_quickstart_answers_rewordings_and_nothing_else() -> None:
    """The quickstart's sixty questions bring at least fifteen semantic hits, none of them wrong."""
    command = [sys.executable, "-c", WITHOUT_WAITING, str(EXAMPLES / "quickstart.py")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=170)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    summary = re.search(r"(\d+) semantic hits, (\d+) wrong", finished.stdout)
    assert summary is not None
    assert int(summary[1]) >= 15
    assert summary[2] == "0"
    assert len(re.findall(r"^(?:hit|miss)", finished.stdout, re.MULTILINE)) == 60
