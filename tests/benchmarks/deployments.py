"""Which edits of a deployed package keep its stored answers: the deployment table.

Run with ``python tests/benchmarks/deployments.py``. A small package answers through one real Redis server in a fresh
process, its files are edited, and another fresh process asks the same: either the answer is kept, or the function is
called again. `tests/behaviour/test_deployments.py` asserts what is printed here.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.programs import ROOT, run_python
from support.redis_servers import COMMANDS, running
from support.warm_process import WarmProcess, warm_process

HEAVY = ("httpx", "numpy", "prometheus_client", "redis.asyncio", "wrapt")
"""What the packages and recallm import: a process that has done so is fresh for both."""

SHOP = {
    "shop/__init__.py": "",
    "shop/__main__.py": "from shop.app import main\nmain()\n",
    "shop/prompts.py": 'SYSTEM_PROMPT = "You are a friendly clerk."\nUNUSED = "once"\n',
    "shop/helpers.py": "def tidy(text: str) -> str:\n    return text.strip()\n",
    "shop/settings.py": """
from dataclasses import dataclass
from enum import Enum
class Tone(Enum):
    DEFAULT = "friendly"
@dataclass
class Settings:
    language: str = "English"
settings = Settings("English")
class Style:
    ending = "!"
    def apply(self, text):
        return text + self.ending
""",
    "shop/clients.py": 'import httpx\nclient = httpx.Client(base_url="https://models.one.example")\nclient.get\n',
    "shop/app.py": """
import os
from formatting import shorten
from recallm import CacheConfig, RedisStorage, semantic_cache
from recallm.testing import FakeEmbedder
from shop import clients, prompts
from shop.helpers import tidy
from shop.settings import Style, Tone, settings
style = Style()
client = clients.client
called = 0
storage = RedisStorage.from_url(os.environ["SHOP_REDIS"], timeout=20.0)
patient = CacheConfig(cache_timeout_seconds=20.0)
@semantic_cache(context={}, storage=storage, embedder=FakeEmbedder(), config=patient)
def answer(question: str, limit: int = 200, *, model: str = "small") -> str:
    '''Answer a customer.'''
    global called
    called += 1
    parts = [prompts.SYSTEM_PROMPT, settings.language, Tone.DEFAULT.value, tidy(question), str(client.base_url)]
    return shorten(style.apply(" ".join(parts)), limit)
def main():
    answer("how do I return my order", model=os.environ.get("SHOP_MODEL", "small"))
    print(called)
if __name__ == "__main__":
    main()
""",
    "kiosk.py": """
import os
from recallm import CacheConfig, RedisStorage, semantic_cache
from recallm.testing import FakeEmbedder
GREETING = "Welcome!"
called = 0
storage = RedisStorage.from_url(os.environ["SHOP_REDIS"], timeout=20.0)
patient = CacheConfig(cache_timeout_seconds=20.0)
@semantic_cache(context={}, storage=storage, embedder=FakeEmbedder(), config=patient)
def answer(question: str) -> str:
    global called
    called += 1
    return GREETING + question
def main():
    answer("how do I return my order")
    print(called)
if __name__ == "__main__":
    main()
""",
    "formatting/__init__.py": "def shorten(text: str, limit: int) -> str:\n    return text[:limit]\n",
}
"""The files of the package, and of another that it uses."""

MODULE = ("-m", "shop.app")
IMPORTED = ("-c", "import shop.app; shop.app.main()")
KIOSK = ("-c", "import kiosk; kiosk.main()")
APP, SETTINGS, CLIENTS = "shop/app.py", "shop/settings.py", "shop/clients.py"


class Edit(NamedTuple):
    """What differs between two deployments.

    Attributes:
        kept: whether the answers of the first serve the second.
        file: the file that is edited; empty: none is.
        old: the text in it.
        new: what takes its place.
        commands: how the first and the second are started.
        model: which model the second asks for.
        version: the `version` that the first has; None: it has none.
    """

    kept: bool
    file: str = ""
    old: str = ""
    new: str = ""
    commands: tuple[tuple[str, ...], tuple[str, ...]] = (IMPORTED, IMPORTED)
    model: str = "small"
    version: str | None = None


EDITS: dict[str, Edit] = {
    "nothing": Edit(True),
    "docstring": Edit(True, APP, "Answer a customer.", "Answer whoever asks."),
    "docstring removed": Edit(True, APP, "    '''Answer a customer.'''\n", ""),
    "comment and formatting": Edit(True, APP, "[prompts.", "[  # all that is said\n        prompts."),
    "local variable renamed": Edit(True, APP, "parts", "pieces"),
    "annotations": Edit(True, APP, 'question: str, limit: int = 200, *, model: str = "small") -> str',
                        'question, limit=200, *, model="small")'),
    "lines moved": Edit(True, APP, "style = Style()", "import json\n\n\nstyle = Style()"),
    "another function added": Edit(True, APP, "def main():", "def other(q):\n    return q\ndef main():"),
    "run by python -m instead of imported": Edit(True, commands=(IMPORTED, MODULE)),
    "run as a script instead of imported": Edit(True, commands=(KIOSK, ("kiosk.py",))),
    "run as a script, its constant changed": Edit(
        False, "kiosk.py", "Welcome", "Hello", commands=(KIOSK, ("kiosk.py",))
    ),
    "run by python -m, SYSTEM_PROMPT changed": Edit(
        False, "shop/prompts.py", "friendly", "stern", commands=(MODULE, MODULE)
    ),
    "SYSTEM_PROMPT in another module": Edit(False, "shop/prompts.py", "friendly", "grumpy"),
    "a constant that nobody reads": Edit(True, "shop/prompts.py", "once", "twice"),
    "code of a helper in another module": Edit(False, "shop/helpers.py", "strip()", "lower()"),
    "docstring of a helper": Edit(True, "shop/helpers.py", "    return", "    '''Tidy.'''\n    return"),
    "code of the function": Edit(False, APP, '" ".join', '"".join'),
    "field of a settings object": Edit(False, SETTINGS, 'Settings("English")', 'Settings("German")'),
    "default argument": Edit(False, APP, "limit: int = 200", "limit: int = 20"),
    "constant of a class": Edit(False, SETTINGS, 'ending = "!"', 'ending = "."'),
    "method of a class": Edit(False, SETTINGS, "text + self.ending", "self.ending + text"),
    "value of an enum member": Edit(False, SETTINGS, 'DEFAULT = "friendly"', 'DEFAULT = "stern"'),
    "helper of another package": Edit(True, "formatting/__init__.py", "text[:limit]", "text[:limit].strip()"),
    "client rebuilt, same server": Edit(True, CLIENTS, "client.get\n", "client.close()\n"),
    "client of another server": Edit(False, CLIENTS, "models.one", "models.two"),
    "model= argument": Edit(False, model="large"),
    "code, under the same version=": Edit(True, APP, '" ".join', '"".join', version="1"),
    "version= changed": Edit(False, APP, 'version="1"', 'version="2"', version="1"),
}  # fmt: skip
"""By name, what was edited, and whether its answers are kept."""


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write files into a folder, in place of those that are there."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def edited(files: Mapping[str, str], file: str, old: str, new: str) -> dict[str, str]:
    """Return files, one of which has another text in a place that it must have."""
    if old not in files[file]:
        raise ValueError(f"{old!r} is not in {file}")
    return {**files, file: files[file].replace(old, new)}


class Deployments:
    """Deploys packages, in turn, that answer through one Redis server.

    Args:
        folder: where their files are written.
        url: where the server listens.
        warm: starts those programs that are no files.
    """

    def __init__(self, folder: Path, url: str, warm: WarmProcess) -> None:
        self._folder = folder
        self._url = url
        self._warm = warm
        self._stored: list[tuple[Mapping[str, str], tuple[str, ...]]] = []

    def calls(self, files: Mapping[str, str], command: tuple[str, ...], model: str = "small") -> int:
        """Return how often the function ran in a fresh process that asks once."""
        write(files, self._folder)
        if command[0] != "-c":
            return int(run_python(*command, folder=self._folder, SHOP_REDIS=self._url, SHOP_MODEL=model))
        ran = self._warm.run(*command, folder=self._folder, SHOP_REDIS=self._url, SHOP_MODEL=model)
        if ran.exit_code:
            raise RuntimeError(f"{command}: {ran.output}")
        return int(ran.output)

    def is_kept(self, edit: Edit) -> bool:
        """Deploy what is not deployed yet, then the edited files, and return whether these got a stored answer."""
        first = dict(SHOP)
        if edit.version is not None:
            first = edited(first, APP, "context={},", f'context={{}}, version="{edit.version}",')
        before, after = edit.commands
        if (first, before) not in self._stored:
            self._stored.append((first, before))
            self.calls(first, before)
        second = edited(first, edit.file, edit.old, edit.new) if edit.file else first
        return self.calls(second, after, edit.model) == 0


@contextmanager
def deployments_on(url: str, folder: Path) -> Iterator[Deployments]:
    """Deploy packages that answer through a Redis server, from a folder that is there only for that."""
    # Files change faster than what is compiled from them would notice.
    with warm_process(*HEAVY, PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1") as warm:
        yield Deployments(folder, url, warm)


def main() -> None:
    """Print the table."""
    folder = Path(tempfile.mkdtemp())
    print(f"{'edit':42} {'stored answers':15} as the contract says")
    wrong = 0
    try:
        with (
            running(next(iter(COMMANDS))) as server,
            deployments_on(server.url, folder / "deployed") as deployments,
        ):
            for name, edit in EDITS.items():
                kept = deployments.is_kept(edit)
                wrong += kept is not edit.kept
                print(f"{name:42} {'kept' if kept else 'dropped':15} {'yes' if kept is edit.kept else 'NO'}")
    finally:
        shutil.rmtree(folder)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
