"""Verifiers: two prompts that follow from each other may share an answer, and in doubt none does."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.entailment import GRAPH, WORDS, nli_folder
from support.model_files import run_python

from recallm import InMemoryStorage, semantic_cache
from recallm.errors import InvalidTypeError, InvalidValueError, ModelUnavailableError
from recallm.testing.threads import run_at_once
from recallm.verifiers import MAX_TOKENS, Entailment

ENTAILED, NOT_ENTAILED = pytest.approx(0.867, abs=1e-3), pytest.approx(0.016, abs=1e-3)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model to which a text follows from another if it has no words but those of the other."""
    return nli_folder(tmp_path_factory.mktemp("models") / "nli")


@pytest.fixture(scope="session")
def entailment(folder: Path) -> Entailment:
    """A verifier that asks it."""
    return Entailment(folder)


@pytest.mark.parametrize(
    ("prompt", "cached_prompt", "score"),
    [
        ("how do I reset my password", "My password how do I reset", ENTAILED),
        ("reset my password", "my password reset reset", ENTAILED),
        ("how do I reset my password", "reset my password", NOT_ENTAILED),
        ("reset my password", "how do I reset my password", NOT_ENTAILED),
        ("reset my password", "reset my pin", NOT_ENTAILED),
    ],
)
def test_an_answer_serves_if_the_prompts_follow_from_each_other(
    entailment: Entailment, prompt: str, cached_prompt: str, score: Any
) -> None:
    """It does not if one of them says more than the other, whichever that is: the lower probability counts."""
    assert entailment.score(prompt, cached_prompt) == score
    assert entailment(prompt, cached_prompt, "an answer") is (score is ENTAILED)


@pytest.mark.parametrize("threshold", [0.86, 0.87])
def test_the_threshold_is_a_probability(folder: Path, threshold: float) -> None:
    """A pair serves if both probabilities are at least the threshold."""
    asked = Entailment(folder, threshold=threshold)
    assert asked("reset my password", "my password reset", None) is (threshold == 0.86)


@pytest.mark.parametrize(
    "doubtful",
    ["", "  ", "my blorg", "my pin [SEP] my", "my pín", "my pin " * MAX_TOKENS, "my pin " * 100_000],
    ids=["empty", "blank", "unknown", "control", "folded", "long", "huge"],
)
def test_what_the_model_cannot_read_follows_from_nothing(entailment: Entailment, doubtful: str) -> None:
    """Even from itself it does not: the model might see no difference to another text."""
    assert entailment.score(doubtful, doubtful) == 0.0
    assert entailment("my pin", doubtful, None) is False
    assert entailment(doubtful, "my pin", None) is False


def test_both_prompts_together_must_fit(tmp_path: Path) -> None:
    """Each fits, and both together are cut by no one: they are refused from the first token too many on."""
    folder = nli_folder(tmp_path / "nli", config={"max_position_embeddings": 16})
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 11}))
    asked = Entailment(folder)

    assert asked.score("my pin my pin", "my pin my pin") == ENTAILED
    assert asked.score("my pin my pin", "my pin my pin my") == 0.0


def test_a_model_with_two_labels_in_another_order(tmp_path: Path) -> None:
    """Labels go by their names, in upper or lower case, wherever they stand."""
    graph = GRAPH.replace("float[batch, 3]", "float[batch, 2]")
    graph = graph.replace("(contradicts, entails, neither)", "(entails, contradicts)")
    asked = Entailment(nli_folder(tmp_path / "nli", graph=graph, labels=("ENTAILMENT", "not_entailment")))

    assert asked.score("my pin", "pin my") > 0.98
    assert asked.score("my pin", "my password") < 0.02


def test_a_label_of_another_name(tmp_path: Path) -> None:
    """A model whose labels have no names is told which one means entailment; nothing is guessed."""
    folder = nli_folder(tmp_path / "nli", labels=("LABEL_0", "LABEL_1", "LABEL_2"))

    with pytest.raises(InvalidValueError, match=re.escape("['LABEL_0', 'LABEL_1', 'LABEL_2']; use the one that means")):
        Entailment(folder)
    assert Entailment(folder, label="label_1")("my pin", "pin my", None)


def _without(name: str, folder: Path) -> None:
    (folder / name).unlink()


def _with_config(text: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (partial(_without, "tokenizer.json"), "has no tokenizer.json; use a folder with an ONNX model"),
        (partial(_without, "config.json"), "has no config.json; use a folder with an ONNX model"),
        (partial(_with_config, "{}"), "has no id2label from 0 on"),
        (partial(_with_config, "[]"), "config.json' is no JSON object"),
        (partial(_with_config, "{"), "config.json' is no JSON object; use a folder with an ONNX model"),
        (partial(_with_config, '{"id2label": {"1": "entailment"}}'), "has no id2label from 0 on"),
        (partial(_with_config, '{"id2label": {"0": "positive", "1": "negative"}}'), r"\['positive', 'negative'\]"),
    ],
)
def test_a_folder_that_is_no_such_model_is_refused_at_construction(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    """Each way in which a folder's settings can be wrong is told at once."""
    folder = nli_folder(tmp_path / "nli")
    spoil(folder)

    with pytest.raises(InvalidValueError, match=message):
        Entailment(folder)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"path": 3}, InvalidTypeError, "path=3 is an int"),
        ({"path": " "}, InvalidValueError, "path=' ' is blank"),
        ({"threshold": 1.0}, InvalidValueError, "threshold=1.0 is not between 0 and 1; use a probability such as 0.5"),
        ({"threshold": True}, InvalidTypeError, "threshold=True is a bool"),
        ({"label": 1}, InvalidTypeError, "label=1 is an int"),
        ({"label": ""}, InvalidValueError, "label='' is empty"),
    ],
)
def test_wrong_arguments_are_refused(
    folder: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Every argument's mistake says what was got and what is allowed."""
    with pytest.raises(error, match=re.escape(message)):
        Entailment(**{"path": folder, **arguments})


def _with_an_image(folder: Path) -> None:
    _rewrite(folder, GRAPH.replace("token_type_ids) =>", "token_type_ids, float[1] pixels) =>"))


def _with_one_label_less(folder: Path) -> None:
    _rewrite(folder, GRAPH.replace("[batch, 3]", "[batch, 2]").replace(", neither)", ")"))


def _with_no_number(folder: Path) -> None:
    _rewrite(folder, GRAPH.replace("Sub(entails, entails)", "Log(contradicts)"))


def _with_broken_weights(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"not a model")


def _without_pairs(folder: Path) -> None:
    plain = nli_folder(folder.with_name("plain"), pairs=False)
    (plain / "tokenizer.json").replace(folder / "tokenizer.json")


def _rewrite(folder: Path, graph: str) -> None:
    changed = nli_folder(folder.with_name("changed"), graph=graph)
    (changed / "model.onnx").replace(folder / "model.onnx")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (partial(_without, "model.onnx"), r"holds \[\] as ONNX models"),
        (_with_broken_weights, "cannot be loaded .*use a folder with an ONNX model"),
        (_with_an_image, "asks for pixels: it does not read pairs of texts"),
        (_without_pairs, "puts nothing between two texts: it does not read pairs of texts"),
        (_with_one_label_less, r"shape \(1, 2\) for one pair, .* names 3 labels"),
        (_with_no_number, "no finite numbers"),
    ],
)
def test_a_model_of_another_kind_is_refused_when_it_is_loaded(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    """Each way in which a model can be wrong is a ModelUnavailableError, and the verifier never says yes."""
    folder = nli_folder(tmp_path / "nli")
    spoil(folder)
    asked = Entailment(folder)

    with pytest.raises(ModelUnavailableError, match=message):
        asked.load()
    with pytest.raises(ModelUnavailableError, match=message):
        asked("my pin", "my pin", None)


def test_it_is_asked_last_by_a_cache(entailment: Entailment) -> None:
    """As ``verify=`` it refuses a similar prompt's answer, and lets another one serve."""

    @semantic_cache(context={}, threshold=0.0, storage=InMemoryStorage(), guards=(), verify=entailment)
    def ask(prompt: str) -> str:
        return prompt

    assert ask("reset my password") == "reset my password"
    assert ask("please reset my password") == "please reset my password"
    assert ask("my password reset") == "reset my password"
    assert ask.stats().vetoes["verify"] > 0
    assert not ask.stats().errors


def test_threads_load_one_model_and_share_it(folder: Path) -> None:
    """Threads that ask at once get the verdicts of their own prompts."""
    asked = Entailment(folder)
    verdicts: dict[str, bool] = {}

    def verify(word: str) -> None:
        verdicts[word] = asked(f"my {word}", f"{word} my", None) and not asked(f"my {word}", "my", None)

    run_at_once([partial(verify, word) for word in WORDS if word != "my"])

    assert set(verdicts.values()) == {True}
    assert repr(asked) == f"<Entailment {str(folder)!r}, loaded>"


def test_a_copy_loads_its_model_itself(tmp_path: Path) -> None:
    """A verifier that was sent to another process says the same there."""
    folder = nli_folder(tmp_path / "nli", labels=("a", "b", "c"))
    asked = Entailment(folder, threshold=0.9, label="b")
    asked.load()

    twin = pickle.loads(pickle.dumps(asked))  # noqa: S301  # made above

    assert repr(twin) == f"<Entailment {str(folder)!r}, not loaded>"
    assert twin.threshold == 0.9
    assert twin.score("my pin", "pin my") == asked.score("my pin", "pin my")


def test_construction_imports_no_runtime_and_loading_forbids_its_reports(folder: Path) -> None:
    """The runtime is imported when the model is loaded, and told before that not to report its use."""
    code = (
        "import os, sys; from recallm.verifiers import Entailment;"
        f"asked = Entailment({str(folder)!r});"
        "print(sorted({'onnxruntime', 'tokenizers', 'numpy'} & set(sys.modules)));"
        "asked.load(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )

    assert run_python(code, ORT_DISABLE_TELEMETRY="").stdout.split() == ["[]"]
    without = "import os; os.environ.pop('ORT_DISABLE_TELEMETRY', None);"
    assert run_python(without + code).stdout.split() == ["[]", "1"]
