"""Labelled pairs, as users write them down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm import Pair
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.evaluation.pairs import labelled


def written(folder: Path, *lines: str) -> Path:
    """Return a file of these lines."""
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("item", "pair"),
    [
        ({"a": "x", "b": "y", "same": True}, Pair("x", "y", True)),
        ({"a": "x", "b": "y", "same": 0, "kind": "unit"}, Pair("x", "y", False, "unit")),
        ({"prompt": "x", "cached_prompt": "y", "same": False, "similarity": 0.9}, Pair("x", "y", False)),
        (Pair("x", "y", True), Pair("x", "y", True)),
    ],
)
def test_pairs_come_in_three_forms(item: Pair | dict[str, object], pair: Pair) -> None:
    """A pair may be a mapping with a and b, a line of a recording, or a `Pair`."""
    assert labelled([item]).pairs == (pair,)


def test_what_has_no_label_is_counted_and_left_out(tmp_path: Path) -> None:
    """Lines of a recording that have no label yet are left out and counted."""
    path = written(
        tmp_path,
        '{"prompt": "x", "cached_prompt": "y", "same": null}',
        "",
        '{"prompt": "x", "cached_prompt": "z", "same": true}',
        '{"prompt": "x", "cached_prompt": "z"}',
    )
    assert labelled(path) == labelled(str(path))
    assert (labelled(path).pairs, labelled(path).unlabelled) == ((Pair("x", "z", True),), 2)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2 is a list"),
        ('{"a": "secret", "same": true}', 'line 2 has no string "b"'),
        ('{"a": 5, "b": "secret", "same": true}', 'line 2 has no string "a"'),
        ('{"a": "secret", "b": "secret", "same": "yes"}', 'line 2 has a "same" that is neither'),
        ('{"a": "secret", "b": "secret", "same": 2}', 'line 2 has a "same" that is neither'),
        ('{"a": "secret", "b": "secret", "same": true, "kind": 1}', 'line 2 has a "kind"'),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str, fault: str) -> None:
    """A bad line is named by its number, and the message quotes nothing of its prompts."""
    path = written(tmp_path, '{"a": "x", "b": "y", "same": true}', line)
    with pytest.raises(InvalidValueError) as caught:
        labelled(path)
    assert fault in str(caught.value)
    assert "secret" not in str(caught.value)


def test_many_bad_lines_are_cut_to_the_first(tmp_path: Path) -> None:
    """Of a file in another format only the first bad lines are named."""
    with pytest.raises(InvalidValueError, match="line 5 is not JSON; and 95 more"):
        labelled(written(tmp_path, *["no"] * 100))


def test_bytes_that_are_no_text_are_a_fault_of_their_line(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are a fault of their line; a byte order mark, as Windows writes it, is not."""
    path = tmp_path / "pairs.jsonl"
    good = '\ufeff{"a": "x", "b": "y", "same": true}\r\n'.encode()
    path.write_bytes(good)
    assert labelled(path).pairs == (Pair("x", "y", True),)
    path.write_bytes(good + b'{"a": "\xff", "b": "y", "same": true}\n')
    with pytest.raises(InvalidValueError, match="line 2 is not JSON"):
        labelled(path)


@pytest.mark.parametrize("pairs", [5, None, {"a": "x", "b": "y", "same": True}])
def test_what_holds_no_pairs_is_refused(pairs: object) -> None:
    """A number, None and a single pair are not lists of pairs."""
    with pytest.raises(InvalidTypeError, match="use the path of a JSONL file, or a list of pairs"):
        labelled(pairs)  # type: ignore[arg-type]  # what is refused


@pytest.mark.parametrize("pairs", [[], [{"a": "x", "b": "y"}]])
def test_nothing_labelled_is_an_error(pairs: list[dict[str, object]]) -> None:
    """Without any labelled pair there is nothing to measure on."""
    with pytest.raises(InvalidValueError, match="no labelled pairs"):
        labelled(pairs)


@given(st.text(), st.text(), st.booleans(), st.none() | st.text())
def test_every_text_comes_back_from_a_line(a: str, b: str, same: bool, kind: str | None) -> None:
    """Any text survives being written to a line and read, with Unicode's line separators in it too."""
    line = json.dumps({"a": a, "b": b, "same": same, "kind": kind}, ensure_ascii=False)
    assert labelled([json.loads(line)]).pairs == (Pair(a, b, same, kind),)
