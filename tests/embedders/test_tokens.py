"""How much of a text a model reads, by the tokens of the offline model and of tokenizers of every other kind."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
import zlib
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.model_files import TOKENIZER_FOLDER, cosine
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from recallm import InMemoryStorage, semantic_cache
from recallm.embedders.fastembed import FastEmbedEmbedder
from recallm.embedders.tokens import TokenReader

SHA512 = hashlib.sha512(b"recallm").hexdigest()


@pytest.mark.model
@pytest.mark.parametrize(
    ("text", "represented"),
    [
        ("How do I reset my password?", True),
        ("Où est la gare ? Für Elise, señor.", False),
        ("“Straße” – Größe: 5 €…", False),
        ("“Straße” – 5 m², ½ €…", True),
        ("ΟΔΟΣ, οδος", True),
        ("안녕하세요", True),
        ("東京 日本", True),
        ("İstanbul", False),
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
    """Blank, truncated, unknown and folded texts may match exactly only."""
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
        ("How do I write a resume?", "How do I write a résumé?"),
        ("Wie kann ich drucken?", "Wie kann ich drücken?"),
        ("¿Cuántos años tienes?", "¿Cuántos anos tienes?"),
        ("мои сестра", "мой сестра"),
    ],
    ids=["truncated", "emoji", "thai", "hashes", "hindi", "kana", "english", "german", "spanish", "russian"],
)
def test_texts_that_collapse_are_not_represented(offline: FastEmbedEmbedder, one: str, other: str) -> None:
    """Different texts with one and the same embedding exist, and `represents` refuses one of each pair."""
    assert cosine(offline, one, other) > 0.9999
    assert not (offline.represents(one) and offline.represents(other))


@pytest.mark.model
@pytest.mark.parametrize("threshold", ["strict", "loose"])
@pytest.mark.parametrize("compose", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I write a resume?", "How do I write a résumé?"),
        ("Wie kann ich drucken?", "Wie kann ich drücken?"),
        ("Jak włączyć budzik?", "Jak wyłączyć budzik?"),
        ("İs it open?", "is it open?"),
    ],
    ids=["english", "german", "polish", "turkish"],
)
def test_words_that_an_accent_tells_apart_never_share_an_answer(
    offline: FastEmbedEmbedder, one: str, other: str, compose: Literal["NFC", "NFD"], threshold: Any
) -> None:
    """Prompts that the model reads alike are matched exactly only, whichever is stored, in either form of Unicode."""
    one, other = (unicodedata.normalize(compose, text) for text in (one, other))
    options: Any = {"context": {}, "embedder": offline, "guards": (), "threshold": threshold}
    for stored, asked in [(one, other), (other, one)]:
        cached = semantic_cache(storage=InMemoryStorage(), **options)(lambda prompt: prompt)
        assert [cached(stored), cached(asked), cached(stored)] == [stored, asked, stored]
        assert (cached.stats().misses, cached.stats().exact_hits) == (2, 1)


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
@examples(2)
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


CHARSMAP = zlib.decompress(
    base64.b64decode(
        "eNoV03e0z2UcB/DnfF0Oh7+QjFOcQ2QcJBJSyd4yQ2SvkoRsfjKyV1b2dsu+wjUL12zYGSXXKHuLlPX6Pee8zvsZ53z+eT6fkBBCyJQm7EyJQl"
        "LaEKIQYmtlBpl8Pwop+6KwzjmjcywhCrGXQnzFVqSPwhD36ewXSGViWTxk5gWy8iLZyEF2cpGTeImta6KQW77MhcQo5JF5Se0ZhVdkPgqQn4K8"
        "SmEKcatkFIrIYhTlNYrzOiUoRUlK8wZleJNylKU8b/EOb1OBd6nIe1SmElWpQnWqUZMa1KYWdanD+9SjAfVpREOa0JimfEBzmtGCD/mIlrSmFW"
        "1pQ3va0ZEOdKYTH9OFrnxCNz6lO5/Rg8/pRU968wV96UN/+jGQAQxmEEPiH8pQvmQ4w/iKEYxiJGMYzTjGMoHxTGIiXzOZqUxhOtP4hhnMYiZz"
        "mM085rKA+SxiIUtYzDKW8i2JLOc7VrKC1axiLWtYRxLr+Z6NbGATyWxhM9vi/ccPbGcHP7KLnewmhb3sYT/7+IkD/MLPHORXDnOIoxzhOMc4wW"
        "+c4iS/c5oz/MFZ/uRcvO/jc8B5/uIil/ibK1zmGle5wfX4HHCTO9zmHnf5h/s85AGP+Jf/+Y8nPOYZT8ljaiqEDp01WuqmcanJSeE5sNmXLg=="
    )
)
"""The rules that sentencepiece compiles of six lines: ﬁ is fi, ² is 2, Ａ is A, ı is i, U+0E33 is U+0E4D U+0E32, and an
ideographic space is a space."""

EVERYDAY = [
    "Maße, GROẞE Straße",
    "ΟΔΟΣ, οδος",
    "İstanbul, Iğdır",
    "résumé, włączyć, łódź, đường",
    "ещё йод",
    "안녕하세요",
    "你好，世界",
    "がぎ、カタカナ",
    "１０月 ＡＢｃ",
    "ทำน้ำ",
    "ນ້ຳ ໜ້າ",
    "և Հայաստան",
    "मैं हूँ",
    "سلام أهلا",
    "5 µg – “10 €”… 😀",
]


@pytest.mark.parametrize(
    ("normaliser", "folded"),
    [
        (None, ""),
        (normalizers.NFC(), ""),
        (normalizers.NFD(), ""),
        (normalizers.Lowercase(), ""),
        (normalizers.BertNormalizer(lowercase=False), ""),
        (normalizers.BertNormalizer(strip_accents=False), ""),
        (normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), ""),
        (normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()]), "x² ﬁn ½"),
        (normalizers.Precompiled(CHARSMAP), "x² ﬁn"),
    ],
    ids=["none", "NFC", "NFD", "lower", "cased BERT", "BERT", "prefix", "NFKC", "charsmap"],
)
def test_text_is_folded_if_its_letters_or_digits_become_others(normaliser: Any, folded: str) -> None:
    """Each kind of normaliser leaves everyday text alone, and what becomes other letters or digits is found."""
    tokenizer = _bpe()
    if normaliser is not None:
        tokenizer.normalizer = normaliser
    reader = TokenReader(tokenizer, max_tokens=64)
    everyday = EVERYDAY if not isinstance(normaliser, normalizers.Precompiled) else [EVERYDAY[0], *EVERYDAY[3:]]
    assert [text for text in everyday if not reader.represents(text)] == []
    unfolded = {"x²", "ﬁn", "½"} - set(folded.split())
    assert {text for text in ("x²", "ﬁn", "½") if reader.represents(text)} == unfolded


def test_a_charsmap_may_fold_the_dotless_i() -> None:
    """A letter that a charsmap alone folds with another is found, too."""
    tokenizer = _bpe()
    tokenizer.normalizer = normalizers.Precompiled(CHARSMAP)
    assert not TokenReader(tokenizer, max_tokens=64).represents("Iğdır")


@pytest.mark.parametrize(
    "normaliser", [normalizers.NFC(), normalizers.NFD(), normalizers.BertNormalizer(lowercase=False)]
)
def test_no_letter_is_folded_where_none_becomes_another(normaliser: Any) -> None:
    """Of all characters of Unicode none counts as folded by a normaliser that only composes or decomposes."""
    tokenizer = _bpe()
    tokenizer.normalizer = normaliser
    reader = TokenReader(tokenizer, max_tokens=64)
    characters = [chr(code) for code in range(0x80, 0x20000) if not 0xD800 <= code < 0xE000]
    chunks = [f"a{character}" for character in characters]
    assert [text for text in chunks if reader._folds(text)] == []


def test_counting_leaves_the_embedding_tokenizer_alone() -> None:
    """The reader works on a copy: the original still truncates and pads."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER_FOLDER / "tokenizer.json"))

    TokenReader(tokenizer, max_tokens=512)

    assert tokenizer.truncation is not None
    assert tokenizer.padding is not None
