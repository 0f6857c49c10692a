"""Kills processes under load of four on one SQLite file, a hundred times, and checks what the file holds each time.

    python tests/benchmarks/kills.py --kills 100

After each kill: SQLite's own check of the whole file, and whether the namespace of each killed process holds exactly
what that had been told was stored, and nothing that it had been told was removed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.kills import Killed, kill_again_and_again


def main() -> None:
    """Kill, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    given = parser.parse_args()
    began, killed = perf_counter(), Killed()
    with tempfile.TemporaryDirectory() as folder:
        for killed in kill_again_and_again(Path(folder), kills=given.kills):
            for problem in killed.problems:
                print(problem)
            if killed.problems:
                sys.exit(1)
    print(
        f"{killed.kills} processes killed in {perf_counter() - began:.0f} s, {killed.operations} acknowledged "
        "operations checked: no damaged file, no lost answer, none that came back"
    )


if __name__ == "__main__":
    main()
