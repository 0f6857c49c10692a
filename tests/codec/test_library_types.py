"""Values of libraries come back equal and of their type, where the library is loaded; arrays only of plain numbers."""

# The classes are there to be stored.
# ruff: noqa: D101

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from pydantic import AnyUrl, BaseModel, FileUrl, HttpUrl, PostgresDsn, SecretBytes, SecretStr
from support.responses import assert_unstorable, there_and_back

from recallm.codec.codec import Codec
from recallm.errors import CorruptPayloadError, UnknownTypeError, UnstorableResponseError


class Word(str):
    __slots__ = ()


class Number(int):
    pass


class Ratio(float):
    pass


class Blob(bytes):
    pass


class Site(BaseModel):
    url: HttpUrl
    key: SecretStr


VALUES: list[Any] = [
    AnyUrl("mailto:a@b.example"),
    HttpUrl("https://müller.example/ä?x=1#f"),
    FileUrl("file:///a/b"),
    PostgresDsn("postgres://user:secret@one.example,two.example/base"),
    SecretStr("hush"),
    SecretBytes(b"\xff"),
    Site(url=HttpUrl("https://a.example"), key=SecretStr("hush")),
    {HttpUrl("https://a.example"): 1},
    Word("text"),
    Number(7),
    Ratio(0.5),
    Blob(b"\x00"),
    np.float64(0.1),
    np.float32(0.1),
    np.int8(-1),
    np.uint64(2**64 - 1),
    np.bool_(True),
    np.complex64(1j),
    np.str_("text"),
    np.str_(""),
    np.bytes_(b"bytes"),
    np.datetime64("2024-01-01"),
    np.timedelta64(5, "D"),
    np.float16("inf"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    """URLs, secrets, subclasses of scalars and numbers of NumPy are restored exactly."""
    restored = there_and_back([value])[0]
    assert type(restored) is type(value)
    assert restored == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array(5),
        np.empty((0, 3)),
        np.array([1, 2], dtype=">i2"),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array([True, False]),
        np.array(["a", "bcd"]),
        np.array([b"a"]),
        np.array(["2024-01-01", "NaT"], dtype="M8[s]"),
        np.arange(10)[::2],
        np.array([np.nan, -0.0]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_comes_back_as_it_was(array: Any) -> None:
    """Dtype, shape and content are restored, and the array may be changed."""
    restored = there_and_back(array)
    assert restored.dtype == array.dtype
    assert restored.shape == array.shape
    assert restored.tobytes() == array.tobytes()
    assert restored.flags.writeable
    assert restored.flags.owndata


class Noted(str):
    def __init__(self, _: str) -> None:
        self.note = 1


class Wide(np.ndarray[Any, Any]):
    pass


UNSTORABLE = {
    "objects": np.array([object()]),
    "records": np.zeros(1, dtype=[("a", "i4")]),
    "long double": np.array([1], dtype=np.longdouble),
    "array of a class": np.zeros(1).view(Wide),
    "masked": np.ma.masked_array([1]),
    "large": np.zeros(5_000_000),
    "long double scalar": np.longdouble(1),
    "void": np.void(b"secret"),
    "text with zeros": np.str_("secret\0"),
    "text with attributes": Noted("secret"),
    "derived URL": type("Url", (AnyUrl,), {})("https://secret.example"),
}


@pytest.mark.parametrize("value", UNSTORABLE.values(), ids=UNSTORABLE.keys())
def test_what_would_come_back_another_is_refused(value: Any) -> None:
    """Arrays of objects, records or too many bytes, and subclasses of what can be stored, are refused by type."""
    assert_unstorable(value)


def test_the_error_names_the_place() -> None:
    """The way through items, keys, fields and attributes to what cannot be stored is in the error."""
    site = Site.model_construct(url=[{"a": (1, {2: object()})}], key=3)
    with pytest.raises(
        UnstorableResponseError, match=r"answer\[0\]\.url\[0\]\['a'\]\[1\]\[\.\.\.\] \(builtins\.object\)"
    ):
        Codec().encode([site])


def test_a_long_way_is_shortened() -> None:
    """The middle of a long way is left out."""
    value: Any = object()
    for _ in range(50):
        value = [value]
    with pytest.raises(UnstorableResponseError, match=r"answer(\[0\]){6}\.\.\.(\[0\]){6} "):
        Codec().encode(value)


def array(kind: Any, shape: Any, content: Any) -> bytes:
    """Return a payload of an array."""
    return b"\x01t" + json.dumps({"$x": ["numpy.ndarray", [kind, shape, content]]}).encode()


CORRUPT = {
    "objects": array("|O", [1], "AAAAAAAAAAA="),
    "records": array("i4,i4", [1], "AAAAAAAAAAA="),
    "size": array("<i4", [2], "AAAAAA=="),
    "negative": array("<i4", [-1, -1], "AAAAAA=="),
    "huge": array("<i4", [0, 2**62, 2**62], ""),
    "many dimensions": array("<i4", [1] * 100, "AAAAAA=="),
    "truth": array("|b1", [1], "Ag=="),
    "character": array("<U1", [1], "////fw=="),
    "unit": array("<M8[nonsense]", [1], "AAAAAAAAAAA="),
    "shape": array("<i4", ["1"], "AAAAAA=="),
    "no class": b'\x01t{"$x":["os.system","ls"]}',
    "no URL": b'\x01t{"$x":["pydantic.networks.HttpUrl","x"]}',
    "URL of a number": b'\x01t{"$x":["pydantic.networks.HttpUrl",1]}',
    "secret of a list": b'\x01t{"$x":["pydantic.types.SecretStr",[]]}',
    "word of a list": f'\x01t{{"$o":["{__name__}.Word",{{"":[]}}]}}'.encode(),
    "a text as a class": b'\x01t{"$o":["builtins.str",{"":"a"}]}',
}


@pytest.mark.parametrize("payload", CORRUPT.values(), ids=CORRUPT.keys())
def test_parts_of_which_no_value_can_be_made_are_corrupt(payload: bytes) -> None:
    """Arrays of other sizes or kinds, and texts that are no URL: never another error."""
    with pytest.raises(CorruptPayloadError):
        Codec([Word, str]).decode(payload)


def test_a_library_that_is_not_loaded_is_not_imported() -> None:
    """A value of such a library is of an unknown class."""
    payload = Codec().encode(HttpUrl("https://a.example"))
    program = (
        "import sys; from recallm.codec import Codec; from recallm.errors import UnknownTypeError\n"
        f"try: Codec().decode({payload!r})\n"
        "except UnknownTypeError as error: print(error.path, 'pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["pydantic.networks.HttpUrl", "False"], done.stderr


def test_a_subclass_of_a_scalar_needs_an_annotation_elsewhere() -> None:
    """Another process does not make a text that says that it is safe on the word of a payload."""
    payload = Codec().encode(Word("text"))
    with pytest.raises(UnknownTypeError):
        Codec().decode(payload)
    assert type(Codec([Word]).decode(payload)) is Word


def test_urls_of_clients_come_back() -> None:
    """So do httpx's and yarl's."""
    httpx = pytest.importorskip("httpx")
    url = httpx.URL("https://user:pass@a.example/b?c=d")
    assert there_and_back(url) == url
    yarl = pytest.importorskip("yarl")
    for text in ("https://a.example/%2F?c=d+e", "/relative"):
        assert there_and_back(yarl.URL(text)) == yarl.URL(text)


def test_attrs_come_back_without_their_hashes() -> None:
    """Classes of attrs, slotted, frozen or plain; a hash that is kept belongs to its process."""
    attrs = pytest.importorskip("attrs")
    for options in (
        {},
        {"frozen": True, "cache_hash": True},
        {"slots": False, "cache_hash": True, "unsafe_hash": True},
    ):
        cls = attrs.make_class("Made", ["a", "_b"], **options)
        value = cls(1, ("x",))
        if "cache_hash" in options:
            hash(value)
        restored = there_and_back(value)
        assert type(restored) is cls
        assert restored == value
        assert getattr(restored, "_attrs_cached_hash", None) is None
        if "cache_hash" in options:
            assert hash(restored) == hash(value)


def test_structs_come_back() -> None:
    """Classes of msgspec, frozen or not, with attributes beside the fields; not those with code of their own."""
    msgspec = pytest.importorskip("msgspec")
    for options in ({}, {"frozen": True, "kw_only": True}, {"dict": True, "tag": "made", "weakref": True}):
        cls = msgspec.defstruct("Made", [("a", int), ("b", list, [])], **options)
        value = cls(a=1, b=[(2,)])
        if "dict" in options:
            value.beside = 3
        restored = there_and_back(value)
        assert type(restored) is cls
        assert restored == value
        assert getattr(restored, "beside", 3) == 3
    coded = msgspec.defstruct("Coded", [("a", int)], namespace={"__post_init__": lambda self: None})
    assert_unstorable(coded(1))


def test_frames_are_refused_by_name() -> None:
    """A table of pandas is not stored; nor is its own kind of date."""
    pandas = pytest.importorskip("pandas")
    with pytest.raises(UnstorableResponseError, match=r"answer\['table'\] \(pandas\..*DataFrame\)"):
        Codec().encode({"table": pandas.DataFrame({"a": [1]})})
    with pytest.raises(UnstorableResponseError, match=r"Timestamp"):
        Codec().encode(pandas.Timestamp("2024-01-01"))
