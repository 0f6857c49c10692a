"""With an offline model nothing leaves the machine, and nothing is written to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest
from support.confined import CAN_CONFINE
from support.marks import needs_multilingual
from support.programs import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.model,
    pytest.mark.skipif(not CAN_CONFINE, reason="needs Linux on x86-64 or ARM"),
]

REPORTS = tuple(map(int, version("onnxruntime").split(".")[:2])) >= (1, 29)
"""Whether the onnxruntime that is installed reports its use, unless it is told not to."""

PROGRAM = """
import os, sys
from support import confined
sys.modules["trio"] = None  # it looks for a folder to write to when the hub's client imports it
for name in sys.argv[1:]:
    getattr(confined, name)()
from recallm import semantic_cache

@semantic_cache(context={})
def ask(prompt: str) -> str:
    return prompt

assert [ask("hello there"), ask("where is it?")] == ["hello there", "where is it?"]
assert not ask.stats().errors, ask.stats()
print("asked", flush=True)
sys.stdin.read()
print("alone")
"""

REPORT_SECONDS, LATER_SECONDS = 40.0, 2.0
"""How long a first report is waited for, and how much longer the processes that must not report are watched."""

CONFINED = "from support import confined; confined.forbid_network(); confined.forbid_writing()"

TRESPASSERS = {
    "connects": "import socket; socket.socket().connect(('192.0.2.1', 9))",
    "writes": "open('written', 'w')",
}
"""Programs that do what is forbidden."""


def started(folder: Path, *confinements: str, **environ: str) -> subprocess.Popen[str]:
    """Start a process that asks the offline model, and then lives on until its input ends.

    Args:
        folder: where it runs.
        confinements: functions of `support.confined` to call first.
        environ: changes to its environment.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *confinements],
        cwd=folder,
        env={**inherited, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def folders(parent: Path, name: str) -> tuple[Path, dict[str, str]]:
    """Return an empty folder, and the environment in which it is home, and the place for what is temporary."""
    folder = parent / name
    folder.mkdir()
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME", "FASTEMBED_CACHE_PATH"), str(folder))
    return folder, places


def test_the_offline_model_neither_calls_out_nor_writes(tmp_path: Path) -> None:
    """A process that embeds connects to nothing and leaves no file, also if there is no home and nothing to write to.

    One whose user allows onnxruntime its reports, and lives until the first, is ended by it. When that comes is up to
    onnxruntime: the others are watched for as long.
    """
    quiet, quiet_places = folders(tmp_path, "quiet")
    allowed, allowed_places = folders(tmp_path, "allowed")
    nowhere = dict.fromkeys(quiet_places, "/proc/nowhere")
    processes = {
        "quiet": started(quiet, "forbid_network", **quiet_places),
        "read-only": started(quiet, "forbid_network", "forbid_writing", **nowhere),
        "allowed": started(allowed, "forbid_network", **allowed_places, ORT_DISABLE_TELEMETRY="0"),
    }
    # A report comes ten seconds after the start, or much later on a busy machine.
    with suppress(subprocess.TimeoutExpired):
        processes["allowed"].wait(REPORT_SECONDS if REPORTS else 0)
    time.sleep(LATER_SECONDS)
    ended = {name: (*process.communicate(timeout=60), process.returncode) for name, process in processes.items()}
    for name in ("quiet", "read-only"):
        printed, errors, code = ended[name]
        assert (printed.split(), errors, code) == (["asked", "alone"], "", 0), name
    assert [*quiet.rglob("*")] == []
    printed, _, code = ended["allowed"]
    if "alone" not in printed:
        assert code == -signal.SIGSYS
        assert any(path.is_file() for path in allowed.rglob("*"))


def test_whoever_connects_or_writes_is_found_out(tmp_path: Path) -> None:
    """A confined process that connects is killed, and one that writes is refused: the tests here would see either."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    ends = {}
    for name, program in TRESPASSERS.items():
        ends[name] = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from support import confined as c; c.forbid_network(); c.forbid_writing(); {program}",
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ends["connects"].returncode == -signal.SIGSYS
    assert "Read-only file system" in ends["writes"].stderr
    assert [*tmp_path.iterdir()] == []


@needs_multilingual
def test_the_multilingual_model_neither_calls_out_nor_writes(tmp_path: Path) -> None:
    """A process that embeds with it connects to nothing and leaves no file, also if there is nothing to write to."""
    home, places = folders(tmp_path, "home")
    chosen = {"RECALLM_EMBEDDER": "offline-multilingual"}
    nowhere = dict.fromkeys(places, "/proc/nowhere")
    processes = [
        started(home, "forbid_network", **places, **chosen),
        started(home, "forbid_network", "forbid_writing", **nowhere, **chosen),
    ]
    time.sleep(LATER_SECONDS)
    for process in processes:
        printed, errors = process.communicate(timeout=60)
        assert (printed.split(), errors, process.returncode) == (["asked", "alone"], "", 0)
    assert [*home.rglob("*")] == []
