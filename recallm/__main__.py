"""The command line: ``python -m recallm COMMAND``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from recallm.commands.output import clear, in_one_line
from recallm.errors import RecallmError

COMMANDS = ("demo", "entries", "show", "forget", "export", "load", "stats", "explain", "evaluate", "tune", "guide")
"""The commands, in the order in which the help lists them: modules of `recallm.commands`."""

EXIT_CODES = """\
exit codes:
  0    done
  1    nothing was found, or not all that was asked for was done
  2    an error, told in one line on standard error
  3    the call that `explain` was asked about goes past the cache
  130  interrupted
  141  nobody reads the output any more

A storage is a URL (sqlite:///answers.db, redis://…) or module:attribute, which is imported. The keys of signed and
encrypted entries come from the environment: RECALLM_SECRET, RECALLM_ENCRYPTION_KEY.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows ``python -m recallm``; None: the program's own.

    Returns:
        The exit code, see `EXIT_CODES`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    modules = _modules(words)
    options = _parser(modules).parse_args(words)
    try:
        code: int = modules[options.command].run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python flushes again when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        clear(sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001  # a server or a user's module may raise anything
        clear(sys.stderr)
        plain = isinstance(error, RecallmError | OSError | ValueError | NotImplementedError)
        message = in_one_line(error, words)
        print(f"recallm: error: {message if plain else f'{type(error).__name__}: {message}'}", file=sys.stderr)
        return 2


def _modules(words: Sequence[str]) -> dict[str, Any]:
    """Return the module of the command that was asked for, or all of them for the help."""
    asked = [name for name in words[:1] if name in COMMANDS]
    return {name: import_module(f"recallm.commands.{name}") for name in asked or COMMANDS}


def _parser(modules: dict[str, Any]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recallm",
        description="Look into a semantic cache, change what it holds, and measure it.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in modules.values():
        module.add(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
