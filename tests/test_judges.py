"""Judges: whether two answers say the same, as texts, as values and as responses of language models."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel
from support.ids import named

from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.judges import TextsAgree, equal_values, texts_agree
from recallm.testing import FakeEmbedder

ANSWERS = Path(__file__).parent / "data" / "answers.jsonl"


@dataclass
class Ticket:
    """A record of the user's."""

    label: str
    reason: str
    seconds: float = field(default=0.0, compare=False)


class Invoice(BaseModel):
    """A model of the user's."""

    number: str
    total: float


class Plain:
    """An object whose class says nothing of when two are equal."""

    def __init__(self, label: str) -> None:
        self.label = label


def chat(text: str, **changes: Any) -> dict[str, Any]:
    """Return a chat completion that says a text."""
    return {"object": "chat.completion", "choices": [{"message": {"content": text}}], **changes}


EQUAL = [
    ("Within 30 days.", "Within 30 days."),
    (3, 3.0),
    ({"a": [1, "x"]}, {"a": [1, "x"]}),
    ((1, 2), (1, 2)),
    (Ticket("bug", "it fails", 1.0), Ticket("bug", "it fails", 2.0)),
    (Invoice(number="1", total=2.0), Invoice(number="1", total=2.0)),
    (Plain("bug"), Plain("bug")),
    (SimpleNamespace(a=1), SimpleNamespace(a=1)),
    (chat("Hi.", id="1", created=5), chat("Hi.", id="2", created=6)),
    (None, None),
]
DIFFERENT = [
    ("Within 30 days.", "Within 14 days."),
    (3, 4),
    ({"a": [1, "x"]}, {"a": [1, "y"]}),
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": 1}, {"b": 1}),
    ([1, 2], [1, 2, 3]),
    (Ticket("bug", "it fails"), Ticket("wish", "it fails")),
    (Invoice(number="1", total=2.0), Invoice(number="1", total=3.0)),
    (Plain("bug"), Plain("wish")),
    (chat("Yes."), chat("No.")),
    (chat("Hi."), "Bye."),
    ("Hi.", None),
    ({"a": 1}, [1]),
    (Plain("bug"), Ticket("bug", "")),
]


@pytest.mark.parametrize("judge", [equal_values, TextsAgree(FakeEmbedder())], ids=["equal_values", "TextsAgree"])
@pytest.mark.parametrize(("one", "other"), EQUAL, ids=named)
def test_equal_answers_agree(judge: Any, one: object, other: object) -> None:
    """Answers with the same content agree; ids and times of a model's response are none of it."""
    assert judge("How?", one, other) is True
    assert judge("How?", other, one) is True


@pytest.mark.parametrize("judge", [equal_values, TextsAgree(FakeEmbedder())], ids=["equal_values", "TextsAgree"])
@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=named)
def test_different_answers_do_not_agree(judge: Any, one: object, other: object) -> None:
    """Answers differ if any value, name or length does, wherever it is."""
    assert judge("How?", one, other) is False
    assert judge("How?", other, one) is False


def test_calls_of_tools_have_to_be_equal() -> None:
    """Two responses that call a tool with other arguments differ, though their texts are the same."""

    def calling(arguments: str) -> dict[str, Any]:
        call = {"function": {"name": "refund", "arguments": arguments}}
        return {"object": "chat.completion", "choices": [{"message": {"content": "", "tool_calls": [call]}}]}

    judge = TextsAgree(FakeEmbedder())
    assert judge("Refund it", calling('{"order": 1}'), calling('{ "order": 1 }'))
    assert not judge("Refund it", calling('{"order": 1}'), calling('{"order": 2}'))


def test_texts_in_a_structure_may_be_reworded_and_values_not() -> None:
    """A text of four words and more is read as an answer; a shorter one is a value, but for capitals and full stops."""
    judge = TextsAgree(FakeEmbedder())
    one = {"label": "Bug", "reason": "The app fails to start on Windows"}
    assert judge("Classify", one, {"label": "bug", "reason": "**The app** fails to start on Windows."})
    assert not judge("Classify", one, {"label": "wish", "reason": "The app fails to start on Windows"})
    assert not judge("Classify", one, {"label": "bug", "reason": "The app fails to start on 2 phones of 5"})


@pytest.mark.parametrize(
    ("prompt", "one", "other", "same"),
    [
        ("How long?", "Within **30 days**.", "- within 30 days", True),
        ("As JSON", '```json\n{"a": 1, "b": 2}\n```', '{"b": 2, "a": 1.0}', True),
        ("As JSON", '{"a": 1}', '{"a": 2}', False),
        ("As JSON", '{"a": 1', '{"a": 1', True),
        ("What is 15 % of 240?", "36", "15 % of 240 is 36.", True),
        ("What is 15 % of 240?", "36", "15 % of 240 is 34.", False),
        ("Is it safe?", "Yes.", "Yes, it is safe for dogs.", True),
        ("Is it safe?", "Yes.", "No, it is not safe.", False),
        ("Is it safe?", "Yes, it is safe.", "I'm sorry, but I can't give advice on that.", False),
        ("Who?", "Jane Austen wrote it.", "It was Emily Brontë who wrote it.", False),
        ("How?", "Run `git stash pop`.", "Run `git stash drop`.", False),
        ("What is it?", "The port is open by default.", "The port is closed by default.", False),
        ("What is it?", "The plan is free.", "The plan is not free.", False),
        ("Notice?", "You have 2 weeks.", "You have 15 days.", False),
        ("Who paid?", "Tom paid Ann for the car.", "Ann paid Tom for the car.", False),
    ],
)
def test_facts_decide_before_similarity_does(prompt: str, one: str, other: str, same: bool) -> None:
    """What contradicts, and what is said in full, is told without a model: this embedder finds nothing alike."""
    judge = TextsAgree(Unlike())
    assert judge(prompt, one, other) is same
    assert judge(prompt, other, one) is same


class Unlike:
    """An embedder to which no two texts are alike."""

    model_id = "unlike"

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def embed(self, text: str) -> list[float]:
        """Return an axis of its own for each text."""
        row = [0.0] * 64
        row[self._known.setdefault(text, len(self._known))] = 1.0
        return row


class Alike(Unlike):
    """An embedder to which all texts are alike by a cosine of 0.7."""

    model_id = "alike"

    def embed(self, text: str) -> list[float]:
        """Return what all texts share, and an axis of its own for each."""
        own = super().embed(text)
        return [*(0.3**0.5 * each for each in own), 0.7**0.5]


def test_similarity_decides_if_facts_do_not() -> None:
    """Two texts without a contradiction agree from the threshold on, and from a higher one if one of them negates."""
    one, other = "Please hand it in early.", "Submit soon, so everyone can read that."
    assert TextsAgree(Alike())("When?", one, other)
    assert not TextsAgree(Unlike())("When?", one, other)
    assert not TextsAgree(Alike(), threshold=0.8)("When?", one, other)
    assert not TextsAgree(Alike())("When?", one, "Submit soon, so nobody waits for that.")


def test_a_calibrated_model_has_a_threshold_of_its_own() -> None:
    """A model whose cosines are all high asks for more."""

    class Calibrated(Alike):
        """An embedder that says which cosines are loose."""

        model_id = "calibrated"
        thresholds: ClassVar = {"loose": 0.95}

    assert not TextsAgree(Calibrated())("When?", "Please hand it in early.", "Submit soon, so everyone can read that.")


def test_trouble_of_the_embedder_is_raised() -> None:
    """A pair that cannot be judged is not judged, so that it does not count as audited."""

    class Broken(Unlike):
        """An embedder that fails."""

        model_id = "broken"

        def embed(self, text: str) -> list[float]:
            """Fail."""
            raise OSError("no model")

    with pytest.raises(OSError, match="no model"):
        TextsAgree(Broken())("When?", "Please hand it in early.", "Submit soon, so everyone can read that.")


def test_arguments_are_checked_when_a_judge_is_made() -> None:
    """A threshold that is no cosine, or an embedder that is none, is refused at once."""
    with pytest.raises(InvalidValueError, match=r"threshold=2\.0"):
        TextsAgree(threshold=2.0)
    with pytest.raises(InvalidTypeError, match="embedder"):
        TextsAgree("offline")  # type: ignore[arg-type]
    assert repr(TextsAgree(threshold=0.5)) == "<TextsAgree threshold=0.5>"


@pytest.mark.slow
@pytest.mark.model
def test_mistakes_are_as_few_as_documented() -> None:
    """On the held-out answers the shares of mistakes are those of the docstring."""
    rows = [json.loads(line) for line in ANSWERS.read_text(encoding="utf-8").splitlines()]
    held_out = [row for row in rows if row["split"] == "held-out"]
    assert len(rows) >= 300
    assert abs(len(rows) - 2 * len(held_out)) <= 4
    found = [(row["same"], texts_agree(row["prompt"], row["a"], row["b"])) for row in held_out]
    assert found.count((True, False)) <= 11
    assert found.count((False, True)) <= 12
