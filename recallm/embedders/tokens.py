"""How much of a text a model reads: its tokens, and what its tokenizer loses."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# English text has 4 to 5 characters per token; beyond 20 a text is white space, or longer than the model.
_MAX_CHARS_PER_TOKEN = 20
_LAST_LATIN_MARK = "\u036f"


class TokenReader:
    """Counts tokens before truncation, and tells texts whose meaning the tokenizer keeps.

    Works on a copy of the model's tokenizer, so the one that embeds keeps its truncation and padding.
    Safe to share between threads: nothing changes after construction.

    Args:
        tokenizer: the model's own tokenizer, of any kind (WordPiece, BPE, Unigram, WordLevel).
        max_tokens: tokens the model reads, special ones included; at least 1.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int) -> None:
        serialised = tokenizer.to_str()
        self.max_tokens = max_tokens
        self._tokenizer = type(tokenizer).from_str(serialised)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._normaliser = self._tokenizer.normalizer
        self._unknown_id = self._find_unknown_id(serialised)

    def _find_unknown_id(self, serialised: str) -> int | None:
        model = json.loads(serialised)["model"]
        unknown_id, token = model.get("unk_id"), model.get("unk_token")
        if isinstance(unknown_id, int):
            return unknown_id
        return self._tokenizer.token_to_id(token) if isinstance(token, str) else None

    @property
    def max_chars(self) -> int:
        """Texts with more characters are taken to be longer than the model, without being read."""
        return _MAX_CHARS_PER_TOKEN * self.max_tokens

    def count(self, text: str) -> int:
        """Count the tokens of `text` before truncation, special tokens included.

        Exact up to `max_chars` characters. A longer text costs no more than that: the count is then
        that of its beginning, and never less than ``max_tokens + 1``.
        """
        counted = len(self._tokenizer.encode(text[: self.max_chars]).ids)
        return counted if len(text) <= self.max_chars else max(counted, self.max_tokens + 1)

    def represents(self, text: str) -> bool:
        """Tell whether the model reads all of `text`, so that its embedding stands for it.

        False where nothing is left to read (blank, zero-width characters), where the end would be cut,
        where a word is unknown to the vocabulary, and where the tokenizer drops vowel signs or tone
        marks of a script other than Latin: such texts can have the very embedding of another text.
        """
        if len(text) > self.max_chars or not text.strip():
            return False
        encoding = self._tokenizer.encode(text)
        return (
            len(encoding.ids) <= self.max_tokens
            and 0 in encoding.special_tokens_mask
            and (self._unknown_id is None or self._unknown_id not in encoding.ids)
            and not self._drops_marks(text)
        )

    def _drops_marks(self, text: str) -> bool:
        if text.isascii() or self._normaliser is None:
            return False
        return bool(_non_latin_marks(text) - _non_latin_marks(self._normaliser.normalize_str(text)))


def _non_latin_marks(text: str) -> Counter[str]:
    decomposed = unicodedata.normalize("NFD", text)
    return Counter(c for c in decomposed if c > _LAST_LATIN_MARK and unicodedata.category(c) == "Mn")
