"""Measures how long a fresh process takes to import recallm, and to decorate a function.

Run with ``python tests/benchmarks/importing.py``. Prints the processor time beside that of the interpreter alone, the
least of some runs.
"""

from __future__ import annotations

import resource
import subprocess
import sys

RUNS = 15

PROGRAMS = {
    "import recallm": "import recallm",
    "import and decorate": "import recallm\n@recallm.semantic_cache(context={})\ndef answer(prompt): return prompt",
}


def seconds(program: str) -> float:
    """Return the least processor time that a fresh process takes for a program."""
    taken = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", program], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def main() -> None:
    """Print the milliseconds of each program."""
    nothing = seconds("pass")
    for name, program in PROGRAMS.items():
        print(f"{name}: {1000 * (seconds(program) - nothing):.0f} ms")


if __name__ == "__main__":
    main()
