"""Verifiers for ``verify=``: asked last, about a similar prompt's answer, when all else agrees."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recallm import checks
from recallm.concurrency.once import Once
from recallm.embedders.onnx import only_onnx, session, tokenizer
from recallm.embedders.tokens import TokenReader
from recallm.errors import InvalidValueError, ModelUnavailableError, RecallmError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Entailment"]

MAX_TOKENS = 512
"""Tokens of a pair at most: models of this kind were trained on no more, and more would take seconds."""

_FILES = ("tokenizer.json", "config.json")
_WANTED = "use a folder with an ONNX model, tokenizer.json, and a config.json with id2label"


class Entailment:
    """Asks a model of natural language inference whether two prompts follow from each other: a verifier.

    Of two questions that have one answer each follows from the other. A similarity, or a cross-encoder that ranks by
    relevance, does not see which of two prompts says more; inference in both directions does. It costs tens of
    milliseconds for each candidate that is served or refused, and nothing on other calls.

    In doubt it refuses: a prompt that the model cannot read whole, has words that it does not know, or names its
    control tokens, follows from nothing. Construction reads config.json only; the model is loaded by `load` or by the
    first verdict, and reads in the thread that asks, on one core.

    Args:
        path: a folder with an ONNX file (model.onnx, onnx/model.onnx or the only one), tokenizer.json, and config.json.
        threshold: the least probability of entailment, in each direction, that lets an answer serve. At 0.5 the model
            holds entailment for likelier than all else. Choose it by `score` on pairs of your own.
        label: which of the model's labels means entailment; upper and lower case are the same.

    Raises:
        InvalidTypeError: an argument has another type.
        InvalidValueError: `threshold` is not between 0 and 1, a file is missing, or the model has no such label.

    ``verify=Entailment("models/nli-MiniLM2-L6-H768")`` asks a model in a folder of yours.
    """

    def __init__(self, path: str | Path, *, threshold: float = 0.5, label: str = "entailment") -> None:
        self.threshold = checks.share(threshold, "threshold", use="use a probability such as 0.5")
        self._folder = checks.path(path, "path")
        missing = [name for name in _FILES if not (self._folder / name).is_file()]
        if missing:
            raise InvalidValueError(f"path={str(path)!r} has no {' and no '.join(missing)}; {_WANTED}")
        config = _settings(self._folder / "config.json")
        self._labels = _labels(config, self._folder)
        self._entails = _place(checks.text(label, "label"), self._labels)
        self._max_tokens = _max_tokens(config, self._folder)
        self._model = Once(f"the model in {str(self._folder)!r}", self._load_or_explain)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy, or what is sent to another process, loads its model itself.
        return partial(type(self), threshold=self.threshold, label=self._labels[self._entails]), (self._folder,)

    def __repr__(self) -> str:
        state = "not loaded" if self._model.made is None else "loaded"
        return f"<Entailment {str(self._folder)!r}, {state}>"

    def __call__(self, prompt: str, cached_prompt: str, response: object) -> bool:
        """Return whether each prompt follows from the other.

        Args:
            prompt: what is asked now.
            cached_prompt: what the answer was given to.
            response: the answer, which is not looked at.

        Raises:
            ModelUnavailableError: the model cannot be loaded. Calls go on without the cached answer.
        """
        return all(probability >= self.threshold for probability in self._probabilities(prompt, cached_prompt))

    def score(self, prompt: str, cached_prompt: str) -> float:
        """Return the lower of the two directions' probabilities of entailment; 0.0 in doubt.

        Raises:
            ModelUnavailableError: the model cannot be loaded.
        """
        return min(self._probabilities(prompt, cached_prompt))

    def _probabilities(self, one: str, other: str) -> Iterator[float]:
        model = self._model.get()
        if not (model.reads(one) and model.reads(other)):
            yield 0.0
            return
        yield model.probability(one, other)
        yield model.probability(other, one)

    def load(self) -> None:
        """Load the model now, rather than at the first verdict. Further calls do nothing.

        Safe to call from several threads: one loads, the others wait. A failure is not remembered.

        Raises:
            ModelUnavailableError: the model cannot be loaded, or is of another kind.
        """
        self._model.get()

    def _load_or_explain(self) -> _Model:
        try:
            return self._load_model()
        except RecallmError:
            raise
        except Exception as error:  # the runtime's and the tokenizer's errors share no base
            raise ModelUnavailableError(
                f"the model in {str(self._folder)!r} cannot be loaded ({type(error).__name__}: {error}); {_WANTED}"
            ) from error

    def _load_model(self) -> _Model:
        loaded = session(only_onnx(self._folder))
        reads = tokenizer(self._folder / "tokenizer.json")
        inputs = tuple(each.name for each in loaded.get_inputs())
        unknown = sorted(set(inputs) - _FIELDS.keys())
        if unknown or reads.num_special_tokens_to_add(is_pair=True) == 0:
            what = f"asks for {', '.join(unknown)}" if unknown else "puts nothing between two texts"
            raise ModelUnavailableError(f"the model in {str(self._folder)!r} {what}: it does not read pairs of texts")
        reader = TokenReader(reads, max_tokens=self._max_tokens)
        controls = tuple(each.content for each in reads.get_added_tokens_decoder().values() if each.special)
        model = _Model(loaded, reads, reader, controls, inputs, self._entails, len(self._labels))
        model.probability("one text", "another")
        return model


_FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""Input of a model → the attribute of an encoding that it takes."""


@dataclass(frozen=True, slots=True)
class _Model:
    """A model that is loaded; threads may share it.

    Attributes:
        session: runs it.
        tokenizer: neither cuts nor pads.
        reader: knows what the tokenizer drops of a text.
        controls: what stands for a control token if it occurs in a text.
        inputs: the names of what the model takes.
        entails: the place of entailment among its labels.
        labels: how many labels it has.
    """

    session: Any
    tokenizer: Tokenizer
    reader: TokenReader
    controls: tuple[str, ...]
    inputs: tuple[str, ...]
    entails: int
    labels: int

    def reads(self, text: str) -> bool:
        """Return whether the model reads all of a text, and nothing else into it."""
        return self.reader.represents(text) and not any(control in text for control in self.controls)

    def probability(self, premise: str, hypothesis: str) -> float:
        """Return the probability that a text follows from another; 0.0 if both together are too long.

        Raises:
            ModelUnavailableError: the model returns something else than a number for each label.
        """
        import numpy as np

        encoding = self.tokenizer.encode(premise, hypothesis)
        if len(encoding.ids) > self.reader.max_tokens:
            return 0.0
        fed = {name: np.array([getattr(encoding, _FIELDS[name])], dtype=np.int64) for name in self.inputs}
        logits = np.asarray(self.session.run(None, fed)[0], dtype=np.float64)
        if logits.shape != (1, self.labels) or not np.isfinite(logits).all():
            raise ModelUnavailableError(
                f"the model returned an array of shape {logits.shape} for one pair, or no finite numbers; "
                f"its config.json names {self.labels} labels"
            )
        exponentials = np.exp(logits[0] - logits.max())
        return float(exponentials[self.entails] / exponentials.sum())


def _settings(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise InvalidValueError(f"{str(file)!r} is no JSON object; {_WANTED}")
    return settings


def _labels(config: Mapping[str, Any], folder: Path) -> list[str]:
    named = config.get("id2label")
    if not isinstance(named, Mapping) or sorted(named) != sorted(map(str, range(len(named)))):
        raise InvalidValueError(f"{str(folder / 'config.json')!r} has no id2label from 0 on; {_WANTED}")
    return [str(named[str(place)]) for place in range(len(named))]


def _place(label: str, labels: list[str]) -> int:
    places = [place for place, each in enumerate(labels) if each.casefold() == label.casefold()]
    if len(places) != 1:
        raise InvalidValueError(
            f"label={label!r} is not one of the model's labels, which are {labels}; use the one that means entailment, "
            f"or a model of natural language inference"
        )
    return places[0]


def _max_tokens(config: Mapping[str, Any], folder: Path) -> int:
    limits = (
        _settings(folder / "tokenizer_config.json").get("model_max_length"),
        config.get("max_position_embeddings"),
    )
    return min([MAX_TOKENS, *(limit for limit in limits if isinstance(limit, int) and limit > 0)])
