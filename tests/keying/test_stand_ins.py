"""Stand-ins: what takes the place of a prompt, or of something that does not count."""

from __future__ import annotations

from collections import OrderedDict, deque
from types import MappingProxyType
from typing import Any

import pytest
from keying.making import Bag, Plain, Point, Record, Slotted, Tagged, form, with_attributes
from pydantic import BaseModel

from recallm.keying.stand_ins import IGNORED, PROMPT_PLACEHOLDER, Ignored, PromptPlaceholder, Replaced


class Model(BaseModel):
    """A pydantic model."""

    x: object = 1
    y: object = 2


HOLDERS: list[tuple[Any, Any, Any]] = [
    ({"x": 1, "y": 2}, {"x": 9, "y": 2}, "x"),
    (dict.fromkeys(range(20), 1), {**dict.fromkeys(range(20), 1), 3: 9}, 3),
    (MappingProxyType({"x": 1, "y": 2}), MappingProxyType({"x": 9, "y": 2}), "x"),
    (OrderedDict(x=1, y=2), OrderedDict(x=9, y=2), "x"),
    (with_attributes(Record(x=1, y=2), note=3), with_attributes(Record(x=9, y=2), note=3), "x"),
    ([1, 2], [9, 2], 0),
    ((1, 2), (9, 2), 0),
    (Bag([1, 2]), Bag([9, 2]), 0),
    (deque([1, 2]), deque([9, 2]), 0),
    (Point(1, 2), Point(9, 2), "x"),
    (Slotted(1, 2), Slotted(9, 2), "x"),
    (Plain(x=1, y=2), Plain(x=9, y=2), "x"),
    (Model(x=1), Model(x=9), "x"),
]


@pytest.mark.parametrize(("value", "other", "name"), HOLDERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("change", [PROMPT_PLACEHOLDER, IGNORED, PromptPlaceholder(2), Replaced([0], {0: IGNORED})])
def test_what_is_replaced_does_not_count_and_all_else_does(value: Any, other: Any, name: Any, change: object) -> None:
    """Values that differ only where something stands for a part have one form, told from that of every whole value."""
    second = {"x": "y", 0: 1, 3: 4}[name]
    assert form(Replaced(value, {name: change})) == form(Replaced(other, {name: change}))
    assert form(Replaced(value, {name: change})) != form(Replaced(value, {second: change}))
    assert form(Replaced(value, {name: change})) not in {form(value), form(other)}


def test_values_with_stand_ins_differ_by_what_holds_them() -> None:
    """The type of what holds the stand-in counts, and so do its attributes."""
    holders = [held for held, _, _ in HOLDERS if not isinstance(held, MappingProxyType)]
    holders += [with_attributes(Bag([1, 2]), note=1), with_attributes(Record(x=1, y=2), note=4)]
    names: dict[Any, Any] = {list: 0, tuple: 0, Bag: 0, deque: 0}
    forms = {form(Replaced(held, {names.get(type(held), "x"): PROMPT_PLACEHOLDER})) for held in holders}
    assert len(forms) == len(holders)


def test_a_placeholder_is_told_from_every_text() -> None:
    """No text, and no container of one, has the form of a placeholder."""
    stand_ins: list[object] = [PROMPT_PLACEHOLDER, PromptPlaceholder(1), PromptPlaceholder(12), IGNORED]
    texts = ["?", "?1", "?12", "-", b"?", "", "s?", None, (0,), (), [0]]
    assert len({form(each) for each in [*stand_ins, *texts]}) == len(stand_ins) + len(texts)
    assert PromptPlaceholder() == PROMPT_PLACEHOLDER
    assert form(Ignored()) == form(IGNORED)


def test_of_a_replaced_text_type_and_attributes_still_count() -> None:
    """Where the text itself is the prompt, its class and what it holds beside the letters count on."""
    whole = {None: PROMPT_PLACEHOLDER}
    one, other = Replaced(Tagged("one"), whole), Replaced(Tagged("other"), whole)
    french = Replaced(with_attributes(Tagged("one"), language="fr"), whole)
    assert form(one) == form(other)
    assert len({form(one), form(french), form(PROMPT_PLACEHOLDER)}) == 3


def test_stand_ins_may_lie_in_each_other() -> None:
    """Where a part of a part is replaced, all that is around it still counts."""

    def conversation(text: str, role: str) -> object:
        message = {"role": role, "parts": [text, 1]}
        parts = Replaced(message["parts"], {0: PROMPT_PLACEHOLDER})
        return Replaced([0, message], {1: Replaced(message, {"parts": parts})})

    assert form(conversation("a", "user")) == form(conversation("b", "user"))
    assert form(conversation("a", "user")) != form(conversation("a", "system"))


def test_a_class_counts_without_what_is_ignored_of_it() -> None:
    """Of a class that is a value itself, attributes may be left out, and the others count."""

    def made(**held: object) -> Any:
        return type("Settings", (), {"__module__": "keying.notebook", **held})

    def without_log(cls: Any) -> Any:
        return Replaced(cls, {"log": IGNORED})

    assert form(made(log=1, model="m")) != form(made(log=2, model="m"))
    assert form(without_log(made(log=1, model="m"))) == form(without_log(made(log=2, model="m")))
    assert form(without_log(made(log=1, model="m"))) != form(without_log(made(log=1, model="n")))
