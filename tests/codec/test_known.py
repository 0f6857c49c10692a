"""Which class a path means: across processes, after redefinitions, and without any code of theirs being run."""

# The classes are there to be stored and found.
# ruff: noqa: D101, D103, D106
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import enum
import gc
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from weakref import ref

import pytest
from pydantic import BaseModel

from recallm.codec import known
from recallm.codec.codec import Codec
from recallm.codec.lookup import loaded_class
from recallm.errors import CorruptPayloadError, UnknownTypeError, UnstorableResponseError

T = TypeVar("T")
RAN: list[str] = []


def placed(module: ModuleType, cls: type, name: str = "") -> Any:
    """Return a class, put into a module as if it were defined there."""
    cls.__module__, cls.__qualname__ = module.__name__, name or cls.__name__
    vars(module)[cls.__name__] = cls
    return cls


def record() -> type:
    """Return a new dataclass of one field."""
    return make_dataclass("Answer", ["text"])


class Model(BaseModel):
    text: str


class Box(BaseModel, Generic[T]):
    item: T


class Row(NamedTuple):
    text: str


class Tint(enum.Enum):
    RED = 1


class Holder:
    @dataclass
    class Inner:
        text: str


@pytest.mark.parametrize(
    "value",
    [Model(text="a"), Row("a"), Tint.RED, Holder.Inner("a"), Box[int](item=1), Box[Model](item=Model(text="a"))],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_data_class_in_a_loaded_module_needs_no_annotation(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A codec that knows nothing makes what lies at the path in a payload, if it is a data class."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or module_of_this_file())
    restored = Codec(process="one").decode(Codec(process="two").encode(value))
    assert type(restored) is type(value)
    assert restored == value


def module_of_this_file() -> ModuleType:
    """Return a module of the names in this file, which pytest may not have registered."""
    module = ModuleType(__name__)
    vars(module).update(globals())
    return module


class Answering(Protocol):
    text: str


def untold(): ...


def to_protocol() -> Answering: ...  # type: ignore[empty-body]


def to_variable(it: T) -> T: ...  # type: ignore[empty-body]


@pytest.mark.parametrize("fn", [untold, to_protocol, to_variable])
def test_an_annotation_that_names_no_class_of_data_leaves_the_list_open(
    fn: Callable[..., Any], shop: ModuleType
) -> None:
    """Under a protocol, a type variable or nothing, an answer is made of the class that is loaded."""
    answer = placed(shop, record())
    assert Codec.for_function(fn).decode(Codec().encode(answer("a"))) == answer("a")


def test_a_class_that_is_not_loaded_is_unknown_until_it_is(shop: ModuleType) -> None:
    """Importing the module is enough."""
    answer = placed(shop, record())
    payload, reader = Codec().encode(answer("a")), Codec()
    del vars(shop)["Answer"]
    with pytest.raises(UnknownTypeError) as caught:
        reader.decode(payload)
    assert caught.value.path == "shop.Answer"
    vars(shop)["Answer"] = answer
    assert reader.decode(payload) == answer("a")


def test_a_class_that_was_defined_anew_is_the_new_one(shop: ModuleType) -> None:
    """No hit is of the old class, whether it was encoded, annotated or listed; instances of it are not stored."""
    old = placed(shop, record())
    codecs = [Codec(), Codec([old]), Codec([old], closed=True)]
    payloads = [codec.encode(old("a")) for codec in codecs]
    new = placed(shop, record())
    for codec, payload in zip(codecs, payloads, strict=True):
        assert type(codec.decode(payload)) is new
        with pytest.raises(UnstorableResponseError, match=r"answer\[0\] \(shop\.Answer, whose place .* another class"):
            codec.encode([old("a")])
        assert codec.decode(codec.encode(new("b"))) == new("b")


def test_a_class_that_was_defined_anew_with_other_fields_is_corrupt(shop: ModuleType) -> None:
    """A payload is not forced into the new class."""
    codec = Codec()
    payload = codec.encode(placed(shop, record())("a"))
    placed(shop, make_dataclass("Answer", ["text", "sources"]))
    with pytest.raises(CorruptPayloadError) as caught:
        codec.decode(payload)
    assert not isinstance(caught.value, UnknownTypeError)


def test_a_local_class_is_known_to_its_own_process_and_by_annotations() -> None:
    """Two processes may mean different classes by one local path, unless an annotation names it."""
    local = record()
    here, there = Codec(process="here"), Codec(process="there")
    payload = here.encode(local("a"))
    there.encode(local("b"))
    assert here.decode(payload) == local("a")
    with pytest.raises(UnknownTypeError) as caught:
        there.decode(payload)
    assert caught.value.of_process
    assert Codec([local], process="there").decode(Codec([local], process="here").encode(local("a"))) == local("a")


def test_a_class_made_from_the_one_at_its_path_stands_in_for_it(shop: ModuleType) -> None:
    """Libraries return objects of such classes, made anew for each call: the latest of them is meant."""
    answer = placed(shop, record())
    first, second = (placed(ModuleType("shop"), type("Answer", (answer,), {})) for _ in range(2))
    codec, other = Codec(), Codec()
    payload = codec.encode(first("a"))
    assert type(codec.decode(payload)) is first
    assert type(codec.decode(codec.encode(second("b")))) is second
    assert type(codec.decode(payload)) is second
    assert type(codec.decode(codec.encode(answer("c")))) is answer
    with pytest.raises(UnknownTypeError) as caught:
        other.decode(payload)
    assert (caught.value.path, caught.value.of_process) == ("shop.Answer", True)
    placed(shop, record())
    with pytest.raises(UnknownTypeError):
        codec.decode(payload)


def test_two_declared_classes_of_one_local_path_are_not_stored() -> None:
    """An annotation that names both leaves open which one a payload means."""
    first, second = record(), record()
    with pytest.raises(UnstorableResponseError, match="two classes"):
        Codec([first, second]).encode(first("a"))


def test_classes_made_for_each_answer_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many classes that lie in no module are remembered."""
    monkeypatch.setattr(known, "MAX_CLASSES", 3)
    codec = Codec()
    for name in "abc":
        codec.encode(make_dataclass(name, [])())
    with pytest.raises(UnstorableResponseError, match="too many classes"):
        codec.encode(make_dataclass("d", [])())


def test_a_class_that_died_leaves_its_path_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that nobody else keeps is let go for later ones, and none of its path passes for it then."""
    monkeypatch.setattr(known, "KEPT_CLASSES", 1)
    codec, first = Codec(), make_dataclass("first", ["text"])
    payload, gone = codec.encode(first("a")), ref(first)
    del first
    gc.collect()
    assert codec.decode(payload).text == "a"
    codec.encode(make_dataclass("second", [])())
    gc.collect()
    assert gone() is None
    with pytest.raises(UnknownTypeError):
        codec.decode(payload)
    with pytest.raises(UnstorableResponseError, match="two classes"):
        codec.encode(make_dataclass("first", ["text"])("b"))


class Meta(type):
    def __getattr__(cls, name: str) -> Any:
        RAN.append(name)
        raise AttributeError(name)


class Trap:
    def __get__(self, *_: object) -> Any:
        RAN.append("descriptor")
        return record()

    def __getattr__(self, name: str) -> Any:
        RAN.append(name)
        raise AttributeError(name)


class LazyModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        RAN.append(name)
        return record()


@dataclass
class Closing:
    text: str

    def __del__(self) -> None:
        RAN.append("end")


class Plain:
    def __init__(self) -> None:
        RAN.append("init")


class Word(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("path", "name", "held"),
    [
        ("shop.Answer", "Plain", Plain),
        ("shop.Closing", "Closing", Closing),
        ("shop.Word", "Word", Word),
        ("shop.Holder.Answer", "Holder", Meta("Holder", (), {"Answer": Trap()})),
        ("shop.Holder.Gone", "Holder", Meta("Holder", (), {})),
        ("shop.Trap.Answer", "Trap", Trap()),
        ("shop.Gone", "Holder", Plain),
        ("os.system", "Holder", Plain),
        ("builtins.object", "Holder", Plain),
        ("subprocess.Popen", "Holder", Plain),
    ],
)
def test_following_a_path_runs_nothing(path: str, name: str, held: Any, shop: ModuleType) -> None:
    """What is no data class, lies under another name, is made by a descriptor or ends with an action is unknown."""
    lazy = LazyModule("shop")
    sys.modules["shop"] = lazy
    vars(lazy)[name] = held
    if isinstance(held, type):
        held.__module__, held.__qualname__ = "shop", path.removeprefix("shop.")
    RAN.clear()
    for payload in (f'\x01t{{"$o":["{path}",{{"text":"a"}}]}}', f'\x01t{{"$e":["{path}","A",1]}}'):
        with pytest.raises(CorruptPayloadError):
            Codec().decode(payload.encode())
    assert RAN == []


def test_a_class_under_another_name_is_not_found(shop: ModuleType) -> None:
    """A class must say itself that it lies where it was found."""
    vars(shop)["Other"] = placed(shop, record())
    assert loaded_class("shop.Answer") is not None
    assert loaded_class("shop.Other") is None
    assert loaded_class("shop." + "a" * 2000) is None


PROGRAM = """
from dataclasses import dataclass
@dataclass
class Answer:
    text: str
if __name__ == "__main__":
    import sys
    from recallm.codec import Codec
    if sys.argv[1:]:
        print(Codec().decode(bytes.fromhex(sys.argv[1])))
    else:
        print(Codec().encode(Answer("hello")).hex())
"""


def test_a_script_and_the_module_of_its_file_are_one(tmp_path: Path) -> None:
    """What a script stored comes back where its file is imported, and the other way round."""
    (tmp_path / "shopfront.py").write_text(PROGRAM)

    def output(*command: str) -> str:
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    stored = output("shopfront.py")
    decode = f"from recallm.codec import Codec; print(repr(Codec().decode(bytes.fromhex({stored!r}))))"
    assert output("-c", f"import shopfront; {decode}") == "Answer(text='hello')"
    imported = output("-c", "import shopfront; from recallm.codec import Codec; print(Codec().encode(shopfront.Answer('hi')).hex())")  # noqa: E501  # fmt: skip
    assert output("shopfront.py", imported) == "Answer(text='hi')"
