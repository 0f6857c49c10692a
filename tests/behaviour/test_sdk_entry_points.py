"""Methods of vendors' SDKs, wrapped as they are, are answered from the cache exactly when they should be."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.sdk_calls import ROWS
from support.sdk_rows import Row

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "sdk_entry_points.py"


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What the program saw of each row: a process of its own, as SDKs change warnings, logs and the environment."""
    ran = subprocess.run([sys.executable, PROGRAM, "--json"], capture_output=True, text=True, timeout=120)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def is_installed(package: str) -> bool:
    """Return whether a package is installed, without running its code but for that of the packages around it."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_method_is_cached_as_it_is(row: Row, request: pytest.FixtureRequest) -> None:
    """It is a hit for the same and for a reworded question, a miss if anything else differs, and streams pass."""
    if not is_installed(row.package):
        pytest.skip(f"{row.package} is not installed; it is in the dependency group sdk")

    found = request.getfixturevalue("seen")[row.name]
    if found["seen"][0]["cells"]["exact"] == "not installed":
        pytest.skip(f"{row.package} is installed, but cannot be imported")

    assert found["as_wanted"], json.dumps(found["seen"], indent=2)
