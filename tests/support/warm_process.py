"""A process that has imported what is heavy, and forks for each program, so that a program starts at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_SERVE = """
import faulthandler, importlib, json, os, runpy, sys

for name in sys.argv[1:]:
    importlib.import_module(name)
for request in sys.stdin:
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
request = json.loads(request)
for number, path in (0, os.devnull), (1, request["output"]), (2, request["output"]):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
faulthandler.dump_traceback_later(request["seconds"], exit=True)
os.chdir(request["folder"])
os.environ.update(request["environ"])
sys.argv = request["command"]
if sys.argv[0] == "-m":
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
elif sys.argv[0] == "-c":
    exec(sys.argv[1], {"__name__": "__main__"})
else:
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Finished(NamedTuple):
    """How a program ended, and what it printed."""

    exit_code: int
    output: str


class WarmProcess:
    """Runs programs in forks of an interpreter in which warnings are errors.

    A program has a namespace of its own and ends as an interpreter ends. The parent only imports: it starts no thread
    that a fork would lack.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *command: str, folder: Path, seconds: float = 120.0, **environ: str) -> Finished:
        """Run one program.

        Args:
            command: what follows ``python``: a path, ``-m`` and a module, or ``-c`` and a program; then arguments.
            folder: where it runs; its output is kept there too.
            seconds: after which it is ended, with a traceback of each of its threads in its output.
            environ: changes to its environment.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        output = folder / "output.txt"
        where = {"folder": str(folder), "output": str(output), "environ": environ}
        request = {"command": command, "seconds": seconds, **where}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return Finished(int(self._process.stdout.readline()), output.read_text(encoding="utf-8"))


@contextmanager
def warm_process(*modules: str, **environ: str) -> Iterator[WarmProcess]:
    """Start a process that imports `modules` ahead of the programs, with these changes to its environment."""
    command = [sys.executable, "-W", "error", "-c", _SERVE, *modules]
    environment = {**os.environ, **environ}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield WarmProcess(process)
