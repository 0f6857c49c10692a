"""What tests of embedders start from: the offline model, no network, and packages that seem to be missing."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NoReturn

import pytest
from support.model_files import TOKENIZER_FOLDER, WEIGHTS

from recallm.embedders.fastembed import FastEmbedEmbedder


@pytest.fixture(scope="session")
def offline() -> FastEmbedEmbedder:
    """The offline model, loaded."""
    embedder = FastEmbedEmbedder.offline(threads=1)
    embedder.load()
    return embedder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting or looking a name up raises, and nothing tells the hub's client to stay offline."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network was touched")

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make packages look as if they were not installed."""

    def hide_modules(*modules: str) -> None:
        _pretend(monkeypatch, dict.fromkeys(modules))

    return hide_modules


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make packages look as if they were installed, as long as nothing imports them."""

    def show_modules(*modules: str) -> None:
        _pretend(monkeypatch, {module: ModuleSpec(module, None) for module in modules})

    return show_modules


def _pretend(monkeypatch: pytest.MonkeyPatch, found: Mapping[str, ModuleSpec | None]) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: found[name] if name in found else real(name, *rest)
    )


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A folder with the files of a user's own model."""
    shutil.copytree(TOKENIZER_FOLDER, tmp_path / "mine")
    shutil.copy(WEIGHTS, tmp_path / "mine" / "model.onnx")
    return tmp_path / "mine"
