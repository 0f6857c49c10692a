"""The README's code blocks run, and its first two commands are those that it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.guide import README, ROOT, TEXTS, blocks
from support.warm_process import WarmProcess, warm_process

pytestmark = pytest.mark.model

PYTHON_BLOCKS = [
    pytest.param(block, id=f"{name} {number}")
    for name, text in TEXTS.items()
    for number, block in enumerate(blocks(text, "python"))
]
BASH_BLOCKS = blocks(README, "bash")


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmProcess]:
    """A process that has already imported the modules that the blocks need."""
    heavy = "huggingface_hub.hf_api numpy prometheus_client pytest recallm.embedders.fastembed redis.asyncio tokenizers"
    with warm_process(*heavy.split(), PYTEST_ADDOPTS="") as process:
        yield process


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_python_block_runs_as_a_program(block: str, warm: WarmProcess, tmp_path: Path) -> None:
    """Each Python block of the README and the guide runs as a program; one with test classes under pytest too."""
    if "from openai import" in block and find_spec("openai") is None:
        pytest.skip("openai is not installed; the examples run this one with the dependency group sdk")
    program = tmp_path / "test_block.py"
    program.write_text(block, encoding="utf-8")
    options = ["-q", "-c", "/dev/null", "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    command = ["-m", "pytest", *options] if "class Test" in block else []
    for _ in range(3):
        finished = warm.run(*command, str(program), folder=tmp_path)
        # A storage that a busy machine keeps from answering in time is left alone, which says nothing of the program.
        if finished.exit_code == 0 or "storage failed with TimeoutError" not in finished.output:
            break
    assert finished.exit_code == 0, f"{block}\n{finished.output}"


def test_first_two_commands_install_then_run_and_install_then_test() -> None:
    """The README's first bash block runs the quickstart and the second the tests, each in one command."""
    run, test = BASH_BLOCKS[:2]
    assert "pip install" in run
    assert run.strip().endswith("python examples/quickstart.py")
    assert "pip install" in test
    assert test.strip().endswith("python -m pytest")
    assert len(run.splitlines()) == len(test.splitlines()) == 1


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder like a checkout, with a quarter of the labelled pairs."""
    data = tmp_path / "tests" / "data"
    data.mkdir(parents=True)
    for path in (ROOT / "tests" / "data").glob("*.jsonl"):
        quarter = path.read_text(encoding="utf-8").splitlines(keepends=True)[::4]
        (data / path.name).write_text("".join(quarter), encoding="utf-8")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("command", [line for block in BASH_BLOCKS[2:] for line in block.splitlines()])
def test_further_commands_run(command: str, checkout: Path) -> None:
    """The README's other commands run from a checkout, with the interpreter that runs the tests."""
    finished = subprocess.run(
        [sys.executable, *command.split()[1:]],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stdout
