"""Whether a response is a whole answer: every known shape as its SDK's object and as a dict, and what is no shape."""

from __future__ import annotations

from collections import UserDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum, StrEnum
from time import thread_time
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from support.answers import ANSWERS, TEXT, Answer, dumped
from support.ids import named

from recallm import is_complete
from recallm.keying.responses import total_tokens
from recallm.keying.shapes import SHAPES

FORMS: dict[str, Callable[[Answer], Any]] = {
    "dict": lambda answer: answer.body,
    "object": lambda answer: answer.read(answer.body),
    "dumped": lambda answer: dumped(answer.read(answer.body)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: f"{answer.package}: {answer.name}")
def test_a_vendors_answer_is_complete_if_it_is_whole(answer: Answer, form: str) -> None:
    """What a service sends, its SDK's object and the object's own dict tell alike whether the answer is whole."""
    if form != "dict":
        pytest.importorskip(answer.package)
    response = FORMS[form](answer)
    assert is_complete(response) is answer.whole
    assert total_tokens(response) == answer.tokens


def as_namespace(value: Any) -> Any:
    """Return a dict as an object of no SDK, with those that it holds."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_namespace(each) for name, each in value.items()})
    return [as_namespace(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "answer",
    [each for each in ANSWERS if "error with" not in each.name],
    ids=lambda answer: f"{answer.package}: {answer.name}",
)
def test_the_shape_counts_and_not_the_class(answer: Answer) -> None:
    """An object of any class that has the whole shape of a vendor's is judged as that."""
    assert is_complete(as_namespace(answer.body)) is answer.whole
    assert total_tokens(as_namespace(answer.body)) == answer.tokens


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: f"{answer.package}: {answer.name}")
def test_the_answer_of_a_vendor_has_at_most_one_shape(answer: Answer) -> None:
    """No answer is of two shapes, so the order of the shapes says nothing."""
    assert sum(shape.fits(answer.body) for shape in SHAPES) <= 1


class Nothing(Enum):
    """A user's enum with empty values."""

    TEXT = ""
    NUMBER = 0


class Label(StrEnum):
    """A user's enum of texts."""

    NONE = ""


class Found(NamedTuple):
    """A user's tuple."""

    names: list[str]


class Basket(list):  # type: ignore[type-arg]
    """A user's list."""


@dataclass
class Run:
    """A user's record that has some names of a vendor's."""

    finish_reason: str = "length"
    status: str = "failed"
    error: str | None = "none found"
    choices: tuple[str, ...] = ()


class Computed:
    """An object that would run code, and fail, if more than what it holds were read."""

    def __init__(self) -> None:
        self.answer = TEXT

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)

    @property
    def choices(self) -> Any:
        """Fail."""
        raise AssertionError

    def __bool__(self) -> bool:
        raise AssertionError

    def __eq__(self, other: object) -> bool:
        raise AssertionError

    __hash__ = object.__hash__


@pytest.mark.parametrize("response", [None, "", " \n\t", [], {}, (), set(), frozenset(), b"", bytearray()], ids=repr)
def test_what_is_empty_is_no_answer(response: object) -> None:
    """None, blank text and empty containers are not complete."""
    assert not is_complete(response)


@pytest.mark.parametrize(
    "response",
    [
        TEXT, b"\0", 0, 0.0, False, True, [None], [[]], {"": None}, (0,), date(2025, 1, 1), object(), int, len,
        Nothing.TEXT, Nothing.NUMBER, Label.NONE, Found([]), Basket(), defaultdict(list), UserDict(), Run(), Computed(),
        SimpleNamespace(), range(0),
    ],
    ids=lambda value: named(value, 40),
)  # fmt: skip
def test_what_is_of_no_known_shape_is_complete(response: object) -> None:
    """Numbers, False, and objects of a user's own are complete, and no code of theirs runs."""
    assert is_complete(response)


@pytest.mark.parametrize(
    "response",
    [
        {"status": "failed"},
        {"status": "incomplete", "output": []},
        {"error": None},
        {"error": None, "answer": TEXT},
        {"error": "none", "answer": TEXT},
        {"error": {"message": "low confidence", "type": "warning"}, "answer": TEXT},
        {"finish_reason": "length", "text": TEXT},
        {"stop_reason": "max_tokens", "content": ""},
        {"type": "message", "role": "assistant", "content": ""},
        {"type": "ai", "content": ""},
        {"type": "error", "text": TEXT},
        {"choices": []},
        {"choices": ["length", "width"]},
        {"choices": [{"text": "length", "price": 1}]},
        {"candidates": []},
        {"candidates": [{"name": "Ada", "content": ""}]},
        {"candidates": [{"name": "Ada", "content": {"text": ""}}]},
        {"message": "", "done": False},
        {"response": "", "model": "m"},
        {"generations": []},
        {"kind": "response", "parts": []},
        {"output": "", "status": "failed"},
        {"prompt_feedback": None},
        {"prompt_feedback": {"block_reason": None}},
        {"_raw_response": None},
    ],
    ids=str,
)
def test_a_users_own_dict_is_not_taken_for_a_vendors(response: dict[str, Any]) -> None:
    """A dict with a few of a vendor's names is complete, whatever stands under them; so is an object with them."""
    assert is_complete(response)
    assert is_complete(as_namespace(response))


@pytest.mark.parametrize(
    "response",
    [
        {"error": "model 'm' not found"},
        {"error": {"message": "The server is overloaded."}},
        {"error": {"message": "Overloaded", "type": "server_error", "param": None, "code": None}},
        {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}},
        {"error": {"code": 402, "message": "No credits."}, "user_id": "u"},
        {"error": {"code": 402, "message": "No credits."}, "id": "c", "choices": []},
    ],
    ids=str,
)
def test_a_body_that_only_tells_of_an_error_is_not_complete(response: dict[str, Any]) -> None:
    """An error that came with the status 200 is no answer."""
    assert not is_complete(response)


@pytest.mark.parametrize(("finish", "whole"), [("stop", True), ("length", False), ("LENGTH", False), ("new", True)])
def test_the_response_behind_a_result_decides(finish: str, whole: bool) -> None:
    """What Instructor reads out of a response is complete if the response is; a word that nobody knows says nothing."""
    message = {"role": "assistant", "content": TEXT}
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    raw = {"object": "chat.completion", "choices": [{"finish_reason": finish, "message": message}], "usage": usage}
    result = SimpleNamespace(name="Ada", _raw_response=raw)
    assert is_complete(result) is whole
    assert total_tokens(result) == 8


def test_a_response_that_holds_itself_is_judged_all_the_same() -> None:
    """A circle of responses ends."""
    result = SimpleNamespace(name="Ada")
    result._raw_response = result
    assert is_complete(result)


@pytest.mark.parametrize("odd", [object(), 7, [], [7], {}, "text", [[]], {"content": 7}], ids=named)
@pytest.mark.parametrize("answer", [each for each in ANSWERS if each.whole], ids=lambda answer: answer.name)
def test_whatever_stands_in_a_shape_nothing_raises(answer: Answer, odd: object) -> None:
    """A response whose parts are not what they should be is judged without an exception."""
    for name in answer.body:
        changed = {**answer.body, name: odd}
        assert isinstance(is_complete(changed), bool)
        assert isinstance(is_complete(as_namespace(changed)), bool)
        assert total_tokens(changed) >= 0


class Unreadable(dict):  # type: ignore[type-arg]
    """A dict that answers to nothing itself."""

    def _fail(self, *_: object) -> Any:
        raise AssertionError

    __getitem__ = __contains__ = __iter__ = __len__ = get = keys = items = _fail


def test_a_dict_of_a_users_class_is_read_past_its_own_methods() -> None:
    """What a dict holds is read where it lies."""
    cut_off = next(each for each in ANSWERS if each.name == "length")
    assert not is_complete(Unreadable(cut_off.body))
    assert is_complete(Unreadable(answer=TEXT))


def test_a_huge_response_takes_no_time() -> None:
    """What is looked at does not grow with the response: its first parts, and texts up to their first letter."""
    text = "a" * 50_000_000
    chat = next(each for each in ANSWERS if each.name == "stop").body
    choice = chat["choices"][0]
    many = {**choice, "message": {"role": "assistant", "content": [{"type": "text", "text": text}] * 1_000_000}}
    responses: list[object] = [{**chat, "choices": [many] * 1000}, text, [text] * 1_000_000]
    began = thread_time()
    assert all(map(is_complete, responses))
    assert thread_time() - began < 0.5
