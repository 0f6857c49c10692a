"""Whose code is whose: which modules belong to the program around a cached function, and which are libraries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

from recallm.keying.reader import MAIN, module_path

_INSTALLED = ("site-packages", "dist-packages")


class Scope:
    """The modules whose code counts for one function: those of its top-level package.

    Of a script, notebook or other module that lies in no package, these are all modules that are not installed.

    Args:
        module: the function's module.
        library: whether the function belongs to a library that the program only uses; then no other code counts.
        script: the path of the script that the function is of, if this process does not run it.
    """

    def __init__(self, module: str, *, library: bool = False, script: str | None = None) -> None:
        self._script = script
        self._top = self._top_of(module)
        self._loose = not library and ("." not in script if script is not None else _is_loose(module))
        self._library = library
        self._known: dict[str, bool] = {}

    def owns(self, module: str | None) -> bool:
        """Return whether the code of a module counts."""
        if module is None or self._library:
            return False
        known = self._known.get(module)
        if known is None:
            own = self._top_of(module) == self._top
            known = self._known[module] = own or (self._loose and not is_installed(module))
        return known

    def _top_of(self, module: str) -> str:
        return _top(self._script if self._script is not None and module in MAIN else module)


def _top(module: str) -> str:
    return module_path(module).partition(".")[0]


def _is_loose(module: str) -> bool:
    """Return whether a module lies in no package, and is neither installed nor Python's own."""
    if module in MAIN:
        return "." not in module_path(module)
    if "." in module or module in sys.stdlib_module_names or module in sys.builtin_module_names:
        return False
    known = sys.modules.get(module)
    return not hasattr(known, "__path__") and not is_installed(module)


def is_installed(module: str) -> bool:
    """Return whether a module was installed as a package, or comes with Python."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return True
    places = [place.replace("\\", "/") for place in _places(module, top)]
    if any(f"/{each}/" in place for place in places for each in _INSTALLED):
        return True
    folders = {_folder_of(top, place) for place in places if "/" in place}
    return any(not _installed_into(folder).isdisjoint(_with_parents(module)) for folder in folders)


def _with_parents(module: str) -> list[str]:
    """Return the name of a module, and those of the packages that it lies in."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _folder_of(top: str, place: str) -> str:
    """Return the folder that a top-level package or module lies in, by the path of a file of it."""
    before, within, _ = f"{place}/".rpartition(f"/{top}/")
    return before if within else place.rpartition("/")[0]


@lru_cache(maxsize=64)
def _installed_into(folder: str) -> frozenset[str]:
    """Return what pip has put into a folder, perhaps beside the program (``pip install -t .``): modules and packages.

    A folder without an ``__init__.py`` is none of them, as the program may have modules of its own there.
    """
    found: set[str] = set()
    try:
        for record in Path(folder or "/").glob("*.dist-info/RECORD"):
            for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
                *packages, file = line.partition(",")[0].split("/")
                if file == "__init__.py":
                    found.add(".".join(packages))
                elif not packages:
                    found.add(file.partition(".")[0])
    except OSError:  # what cannot be read does not say so
        pass
    return frozenset(found)


def _places(module: str, top: str) -> list[str]:
    """Return where a module, or the package that it lies in, was loaded from or would be."""
    known = sys.modules.get(module) or sys.modules.get(top)
    if known is not None:
        return [str(getattr(known, "__file__", None) or "")]
    found = PathFinder.find_spec(top)
    return [] if found is None else [str(found.origin), *(found.submodule_search_locations or ())]


def is_of_library(module: str) -> bool:
    """Return whether a function of this module is a library's, which the program that is running only uses.

    A module that is installed is the program's own if its code is being run now: it caches a function of its own.
    """
    if not is_installed(module):
        return False
    return all(_top(running) != _top(module) for running, _, _ in _frames())


def calling_line() -> tuple[str, int]:
    """Return the file and line of the code that called recallm."""
    outside = ((file, line) for module, file, line in _frames() if _top(module) != "recallm")
    return next(outside, ("<unknown>", 1))


def _frames() -> Iterator[tuple[str, str, int]]:
    """Yield the module, file and line of each frame, the innermost first."""
    frame = sys._getframe(1).f_back
    while frame is not None:
        yield str(frame.f_globals.get("__name__")), frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
