"""Judges for ``same=``: does a stored answer say the same as the one that the function gives now?

An audit asks one in the background about a stored answer and the function's own (see the option ``audit``). Its
mistakes count as the cache's: a right answer that it finds different raises the wrong rate, and a wrong one that it
finds the same lowers it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from itertools import pairwise
from operator import eq
from typing import TYPE_CHECKING, Any

from recallm import checks
from recallm.guards.answers import Verdict, compare_answers, has_negation, normalised, without_markup
from recallm.guards.language import unaccented
from recallm.guards.patterns import compiled
from recallm.keying.objects import is_pydantic_class
from recallm.keying.responses import held
from recallm.keying.said import Said, said
from recallm.registry import default_embedder, managed

if TYPE_CHECKING:
    from recallm.embedders.managed import ManagedEmbedder
    from recallm.typing import EmbedderLike, Vector

__all__ = ["TextsAgree", "equal_values", "texts_agree"]

LEAST_SIMILARITY = 0.62
"""The least cosine of two answers that say the same in other words, for models whose "loose" is `LOOSE`.

Of the 154 pairs of answers in the development half of tests/data/answers.jsonl, 14 are misjudged with 0.60 or 0.62, 15
with 0.64 to 0.68, 19 with 0.72.
"""

LOOSE = 0.85

NEGATION_MARGIN = 0.18
"""How much more alike two answers have to be if only one of them negates anything; chosen likewise."""

MAX_PIECES = 48
"""How many sentences of an answer, and pairs of sentences, are compared with those of the other."""

FEWEST_WORDS = 4
"""A text of fewer words in a structure is a value, which has to be equal."""

_SENTENCE_END = r"(?<=[.!?;:])\s+|\n+"
_ABOUT = "_raw_response"
"""Where Instructor leaves the response of the model with what it read from it."""

Agree = Callable[[str, str], bool]


def equal_values(prompt: str, cached: object, response: object) -> bool:  # noqa: ARG001  # judges are given it
    """Return whether two answers are equal, but for the ids, times and token counts of a language model's response.

    Use it for answers that are data: labels, numbers, extracted fields, tool calls. It finds every rewording of a text
    different: all 158 pairs of right answers in tests/data/answers.jsonl, and none of the 150 wrong ones the same.

    Args:
        prompt: what was asked; it is not looked at.
        cached: the stored answer.
        response: the function's answer now.

    >>> equal_values("How many?", {"count": 3}, {"count": 3}), equal_values("How many?", "3", "3.")
    (True, False)
    """
    return _agree(cached, response, eq, eq)


class TextsAgree:
    """Judges whether the texts of two answers say the same: a judge for ``same=``.

    Texts that are equal but for markup, capitals and white space agree, and so do JSON objects that are equal. Answers
    disagree if each has a number, name or literal that the other lacks, if one says yes and the other no, if one
    refuses, or if a word of one stands in the place of its opposite. A short answer agrees with a longer one that says
    it. All else is decided by the similarity of the texts or of their sentences. Of language models' responses, in the
    shapes that `recallm.is_complete` knows, what they say is compared; in other objects and containers, texts of
    four words and more agree as above, and all other values have to be equal.

    Args:
        embedder: gives the similarities; None: the default embedder. It is called in the judge's thread.
        threshold: the least cosine of two texts that say the same; None: one for the model.

    Raises:
        InvalidTypeError: `embedder` is no embedder, or `threshold` no number.
        InvalidValueError: `threshold` is not in [0, 1].
    """

    def __init__(self, embedder: EmbedderLike | None = None, *, threshold: float | None = None) -> None:
        self._embedder = None if embedder is None else checks.embedder(embedder)
        self._threshold = None if threshold is None else checks.share(threshold, "threshold", use="use a cosine")

    def __repr__(self) -> str:
        return f"<TextsAgree threshold={self._threshold!r}>"

    def __call__(self, prompt: str, cached: object, response: object) -> bool:
        """Return whether two answers to one prompt say the same.

        Args:
            prompt: what was asked; numbers and words that it has tell nothing about an answer.
            cached: the stored answer.
            response: the function's answer now.

        Raises:
            Exception: whatever the embedder raises. The pair is then not counted as audited.
        """

        def texts(one: str, other: str) -> bool:
            verdict = compare_answers(prompt, one, other)
            return verdict is Verdict.SAME or (verdict is Verdict.OPEN and self._are_near(one, other))

        def values(one: str, other: str) -> bool:
            if min(len(one.split()), len(other.split())) < FEWEST_WORDS:
                return normalised(one) == normalised(other)
            return texts(one, other)

        return _agree(cached, response, texts, values)

    def _are_near(self, one: str, other: str) -> bool:
        model = default_embedder() if self._embedder is None else managed(self._embedder)
        least = self._threshold if self._threshold is not None else _least(model)
        if has_negation(one) != has_negation(other):
            least = min(1.0, least + NEGATION_MARGIN)
        return _are_similar(_plain(one), _plain(other), model, least)


_of_default_embedder = TextsAgree()


def texts_agree(prompt: str, cached: object, response: object) -> bool:
    """Return whether the texts of two answers say the same, by `TextsAgree` and the default embedder.

    On the held-out half of tests/data/answers.jsonl, which has hard cases on purpose, it finds 12 % (10 of 81, 95 %
    interval 7 to 21 %) of the right answers different, most of them reworded at length, and 16 % (12 of 73, 10 to 27 %)
    of the wrong ones the same; tests/benchmarks/judges.py prints these. So it finds a change of the wrong rate, and
    which answers to look at. A budget (``max_wrong``) below the share of right answers that it finds different would
    stop a cache that has no fault: for such give a judge of your own, or let the function answer in values.

    Args:
        prompt: what was asked.
        cached: the stored answer.
        response: the function's answer now.

    Raises:
        Exception: whatever the embedder raises. The pair is then not counted as audited.
    """
    return _of_default_embedder(prompt, cached, response)


def _agree(one: Any, other: Any, texts: Agree, values: Agree) -> bool:
    """Return whether two answers agree, their texts as `texts` tells, and those inside of structures as `values`."""
    told = said(one), said(other)
    if isinstance(told[0], Said) and isinstance(told[1], Said):
        return told[0].calls == told[1].calls and texts(told[0].text, told[1].text)
    return _values_agree(one, other, values)


def _values_agree(one: Any, other: Any, values: Agree) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return values(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_values_agree(one[key], other[key], values) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_values_agree(a, b, values) for a, b in zip(one, other, strict=True))
    if type(one) is type(other) and _is_record(one):
        return _values_agree(_members(one), _members(other), values)
    return bool(one == other)


def _is_record(value: object) -> bool:
    """Return whether a value is what it holds, and not what its class makes of it by comparing."""
    cls = type(value)
    return is_dataclass(value) or is_pydantic_class(cls) or (cls.__eq__ is object.__eq__ and bool(held(value)))


def _members(value: Any) -> dict[str, Any]:
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields(value) if each.compare}
    return {name: item for name, item in held(value).items() if name != _ABOUT}


def _least(model: ManagedEmbedder) -> float:
    """Return the least similarity for a model: as far below its "loose", in parts of what is left to 1, as measured."""
    loose = model.load().thresholds.get("loose", LOOSE)
    return 1.0 - (1.0 - LEAST_SIMILARITY) * (1.0 - loose) / (1.0 - LOOSE)


def _are_similar(one: str, other: str, model: ManagedEmbedder, least: float) -> bool:
    """Return whether two texts are alike as wholes, or the sentences of the shorter to the nearest of the longer."""
    if _similarities([one], [other], model)[0] >= least:
        return True
    shorter, longer = sorted((_sentences(one), _sentences(other)), key=lambda each: sum(map(len, each)))
    nearest = _similarities(shorter, longer, model)
    return bool(nearest) and sum(nearest) / len(nearest) >= least


def _similarities(texts: list[str], others: list[str], model: ManagedEmbedder) -> list[float]:
    """Return how alike each text is to the nearest of the others, as far as the model may read them."""
    both = list(dict.fromkeys(unaccented(text) for text in (*texts, *others)))
    rows: list[Vector | None] = [row for part in model.embed_many(both, at_once=16) for row in part]
    vectors = dict(zip(both, rows, strict=True))
    return [max(_cosine(vectors[unaccented(a)], vectors[unaccented(b)]) for b in others) for a in texts if others]


def _plain(text: str) -> str:
    return compiled(r"[*_`#]+").sub("", without_markup(text))


def _sentences(text: str) -> list[str]:
    """Return the sentences of a text, and each two that follow each other."""
    sentences = [each for each in compiled(_SENTENCE_END).split(text) if len(each.split()) > 2][:MAX_PIECES]
    return [*sentences, *map(" ".join, pairwise(sentences))]


def _cosine(one: Vector | None, other: Vector | None) -> float:
    from recallm.scoring import similarity

    return 0.0 if one is None or other is None else similarity(one, other)
