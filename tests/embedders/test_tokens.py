"""How much of a text a model reads, by the tokens of the offline model and of tokenizers of every other kind."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.model_files import TOKENIZER_FOLDER, cosine
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from recallm.embedders.fastembed import FastEmbedEmbedder
from recallm.embedders.tokens import TokenReader

SHA512 = hashlib.sha512(b"recallm").hexdigest()


@pytest.mark.model
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


@pytest.mark.model
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


@pytest.mark.model
def test_tokens_are_counted_before_truncation(offline: FastEmbedEmbedder) -> None:
    """The count of tokens goes beyond max_tokens and includes [CLS] and [SEP]."""
    assert offline.max_tokens == 512
    assert offline.count_tokens("") == 2
    assert offline.count_tokens("hello world") == 4
    assert offline.count_tokens("word " * 600) == 602


@pytest.mark.model
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
    """Any text that is represented has content, and no more tokens than the model reads."""
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
