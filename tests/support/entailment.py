"""A model of natural language inference, small enough to read: a text follows if all its words are in the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx.parser
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ("how", "do", "i", "reset", "my", "password", "please", "not", "the", "secret", "pin")
CONTROLS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LABELS = ("contradiction", "entailment", "neutral")

GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
subset (int64[batch, length] input_ids, int64[batch, length] token_type_ids) => (float[batch, 3] logits)
<int64 zero = {0}, int64[1] last = {1}, int64[1] second = {2}>
{
    is_premise = Equal(token_type_ids, zero)
    is_hypothesis = Not(is_premise)
    down = Unsqueeze(input_ids, second)
    across = Unsqueeze(input_ids, last)
    same = Equal(down, across)
    premise_across = Unsqueeze(is_premise, last)
    found = And(same, premise_across)
    found_number = Cast<to = 1>(found)
    is_found = ReduceMax<axes = [2], keepdims = 0>(found_number)
    is_found_bool = Cast<to = 9>(is_found)
    is_covered = Or(is_found_bool, is_premise)
    covered = Cast<to = 1>(is_covered)
    all_covered = ReduceMin<axes = [1], keepdims = 1>(covered)
    four = Constant<value_float = 4.0>()
    two = Constant<value_float = 2.0>()
    scaled = Mul(all_covered, four)
    entails = Sub(scaled, two)
    contradicts = Neg(entails)
    neither = Sub(entails, entails)
    logits = Concat<axis = 1>(contradicts, entails, neither)
}
"""
"""Logits of 2, -2 and 0, as labelled by `LABELS`: entailment has a probability of .87 or of .02."""


def nli_folder(
    folder: Path,
    *,
    graph: str = GRAPH,
    labels: Sequence[str] = LABELS,
    config: Mapping[str, Any] | None = None,
    pairs: bool = True,
) -> Path:
    """Write such a model into a folder, and return the folder.

    Args:
        folder: where; it is made.
        graph: the model.
        labels: their names, in the order of the logits.
        config: what config.json holds besides the labels.
        pairs: whether the tokenizer puts anything between the two texts of a pair.
    """
    folder.mkdir()
    onnx.save(onnx.parser.parse_model(graph), folder / "model.onnx")
    known: Any = {"vocab": {word: place for place, word in enumerate((*CONTROLS, *WORDS))}, "unk_token": "[UNK]"}
    tokenizer = Tokenizer(models.WordLevel(**known))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(CONTROLS))
    if pairs:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", CONTROLS.index("[CLS]")), ("[SEP]", CONTROLS.index("[SEP]"))],
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"id2label": {str(place): label for place, label in enumerate(labels)}, **(config or {})}
    (folder / "config.json").write_text(json.dumps(named))
    return folder
