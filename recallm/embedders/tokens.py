"""How much of a text a model reads: the tokens of the text, and what its tokenizer drops or folds."""

from __future__ import annotations

import json
import unicodedata
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_CHARS_PER_TOKEN = 20
"""English text has 4 to 5 characters per token; one with 20 is longer than the model reads, or white space."""

_ONE_SPELLING = str.maketrans(
    {
        "\N{GREEK SMALL LETTER FINAL SIGMA}": "\N{GREEK SMALL LETTER SIGMA}",
        "\N{MICRO SIGN}": "\N{GREEK SMALL LETTER MU}",
        "\u0e33": "\u0e4d\u0e32",  # Thai
        "\u0eb3": "\u0ecd\u0eb2",  # Lao, and the next two
        "\u0edc": "\u0eab\u0e99",
        "\u0edd": "\u0eab\u0ea1",
        "\u0587": "\u0565\u0582",  # Armenian
        # The wide digits and letters of Japanese and Chinese text.
        **{chr(ord(each) + 0xFEE0): each for each in "0123456789abcdefghijklmnopqrstuvwxyz"},
    }
)
"""Letters of everyday text that normalisers write in another way, which makes no other word of any."""


class TextReader(ABC):
    """What knows how much of a text a model reads; threads may share it.

    Args:
        max_tokens: tokens the model reads, special ones included; at least 1.
    """

    def __init__(self, *, max_tokens: int) -> None:
        self.max_tokens = max_tokens

    @property
    def max_chars(self) -> int:
        """How many characters are read of a text; one with more counts as longer than the model reads."""
        return MAX_CHARS_PER_TOKEN * self.max_tokens

    def count(self, text: str) -> int:
        """Return how many tokens `text` has before it is cut, special tokens included.

        The count is exact up to `max_chars` characters. Of a longer text only as many are read, and the count is at
        least ``max_tokens + 1``.
        """
        counted = self._count_all(text[: self.max_chars])
        return counted if len(text) <= self.max_chars else max(counted, self.max_tokens + 1)

    @abstractmethod
    def _count_all(self, text: str) -> int:
        """Return how many tokens a text of at most `max_chars` characters has."""

    @abstractmethod
    def represents(self, text: str) -> bool:
        """Return whether the model reads all of a text, so that its embedding stands for it."""


class TokenReader(TextReader):
    """Counts the tokens of a text before it is cut, and finds out whether the tokenizer drops any of it.

    It works on a copy of the model's tokenizer, so that the one that embeds keeps its truncation and padding. Threads
    may share it: nothing changes after construction.

    Args:
        tokenizer: the model's own tokenizer, of any kind (WordPiece, BPE, Unigram, WordLevel).
        max_tokens: tokens the model reads, special ones included; at least 1.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int) -> None:
        serialised = tokenizer.to_str()
        super().__init__(max_tokens=max_tokens)
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

    def _count_all(self, text: str) -> int:
        return len(self._tokenizer.encode(text).ids)

    def represents(self, text: str) -> bool:
        """Return whether the model reads all of `text`, so that its embedding stands for it.

        It does not if there is nothing to read (white space, zero-width characters), if the end would be cut, if a word
        is unknown to the vocabulary, or if the tokenizer folds letters, digits or marks with others, as it does when it
        drops accents: such a text can have the very embedding of another one. Letter case may be folded.
        """
        if len(text) > self.max_chars or not text.strip() or self._folds(text):
            return False
        encoding = self._tokenizer.encode(text)
        return (
            len(encoding.ids) <= self.max_tokens
            and 0 in encoding.special_tokens_mask
            and (self._unknown_id is None or self._unknown_id not in encoding.ids)
        )

    def _folds(self, text: str) -> bool:
        if text.isascii() or self._normaliser is None:
            return False
        return spelling(self._normaliser.normalize_str(text)) != spelling(text)


def spelling(text: str) -> str:
    """Return the letters, digits and marks of a text: the same in upper and lower case, composed and decomposed."""
    decomposed = unicodedata.normalize("NFD", text.lower()).translate(_ONE_SPELLING)
    return "".join(each for each in decomposed if unicodedata.category(each)[0] in "LMN")
