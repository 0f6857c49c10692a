"""The file of a storage: which path may name one, who may read it, and whether another has taken its place."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from recallm import checks
from recallm.errors import InvalidValueError

Identity: TypeAlias = tuple[int, int]
"""The device and the number of a file: another file at the same path has others."""

OWNER_ONLY = 0o600


def checked_path(value: object, field: str) -> Path:
    """Return an absolute path at which there is a file, or may be one. ``~`` is the home folder.

    Raises:
        InvalidTypeError: `value` is neither a str nor a Path.
        InvalidValueError: it names no file, a folder, or a file in a folder that does not exist.
    """
    use = "use the path of a file, such as 'answers.db'"
    path = checks.path(value, field, use=use)
    if str(value) == ":memory:":
        raise InvalidValueError(f"{field}={value!r} is no file; use {use[4:]}, or storage='memory://'")
    if "\0" in str(path):
        raise InvalidValueError(f"{field}={value!r} has a null character; {use}")
    path = path.expanduser().absolute()
    if path.is_dir():
        raise InvalidValueError(f"{field}={value!r} is a folder; {use}")
    if not path.parent.is_dir():
        raise InvalidValueError(
            f"{field}={value!r} lies in {str(path.parent)!r}, which is no folder; make it first (in a URL an absolute "
            "path has four slashes: sqlite:////var/cache/answers.db)"
        )
    return path


def identity_of(path: Path) -> Identity | None:
    """Return which file a path names now, through links; None: there is none.

    Raises:
        OSError: the file cannot be looked at.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def create_file(path: Path) -> None:
    """Make an empty file that its owner alone may read, unless there is one; SQLite makes the files beside it so, too.

    Raises:
        OSError: the folder does not allow it.
    """
    target = Path(os.path.realpath(path))
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        # Closing a file ends the locks that the process holds on it, so it is closed before it has its name.
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))
        try:
            os.link(unfinished, target)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            with suppress(FileExistsError):
                os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))
    finally:
        unfinished.unlink(missing_ok=True)


def is_writable(path: Path) -> bool:
    """Return whether this process may write a file, and beside it."""
    target = os.path.realpath(path)
    return os.access(target, os.W_OK) and os.access(os.path.dirname(target), os.W_OK)  # noqa: PTH120  # not of a link


def state_of(path: Path) -> tuple[int, ...] | None:
    """Return what changes whenever a file is written; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def state_without_log(path: Path) -> tuple[int, ...] | None:
    """Return what changes whenever a file is written, if there is no log of changes beside it; None: there is one."""
    target = Path(os.path.realpath(path))
    with suppress(OSError):
        if target.with_name(target.name + "-wal").stat().st_size:
            return None
    return state_of(target)


def uri(path: Path, mode: str) -> str:
    """Return the URI by which SQLite opens a file, whatever characters its path has."""
    return f"{path.as_uri()}?mode={mode}"
