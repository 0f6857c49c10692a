"""A process may be killed at any moment: the file is sound, and what was acknowledged is as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kills import Killed, kill_again_and_again


@pytest.mark.slow
@pytest.mark.untraced
def test_killed_processes_leave_a_sound_file(tmp_path: Path) -> None:
    """Of four processes one after the other is killed, and all at once: no answer is lost, none comes back."""
    killed = Killed()
    for killed in kill_again_and_again(tmp_path, kills=12):
        assert killed.problems == []
    assert killed.kills >= 12
    assert killed.operations > 100
