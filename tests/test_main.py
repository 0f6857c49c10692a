"""The command line, run in this process: tables and lines to paste, one-line errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recallm.__main__ import main

SAME = [("how do I cancel my plan", "how do I my plan cancel"), ("where is my order now", "where is now my order")]
DIFFERENT = [("refund in 30 days", "refund in 90 days"), ("who wrote the manual", "what does bread cost")]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Return a file of labelled pairs."""
    path = tmp_path / "pairs.jsonl"
    lines = [{"a": a, "b": b, "same": same} for group, same in ((SAME, True), (DIFFERENT, False)) for a, b in group]
    path.write_text("".join(f"{json.dumps({**line, 'kind': 'near'})}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.model
def test_evaluate_prints_a_table(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`evaluate` prints tables over thresholds, without guards and with them, by kind and by guard."""
    assert main(["evaluate", str(pairs), "--embedder", "offline"]) == 0
    printed = capsys.readouterr()
    for expected in ("2 same pairs, 2 look-alikes", "without guards", "with guards", "by kind, at 0.9", "vetoes at"):
        assert expected in printed.out
    assert printed.err == ""


@pytest.mark.model
def test_guards_may_be_left_out(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--no-guards`, `evaluate` prints one table."""
    assert main(["evaluate", str(pairs), "--embedder", "offline", "--no-guards", "--at", "0.9"]) == 0
    assert "with guards" not in capsys.readouterr().out


@pytest.mark.model
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_plot_is_written(ending: str, pairs: Path, tmp_path: Path) -> None:
    """`evaluate` writes a plot in the format that the file's ending names."""
    picture = tmp_path / f"curve.{ending}"
    assert main(["evaluate", str(pairs), "--embedder", "offline", "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG" if ending == "png" else b"<?xml")


@pytest.mark.model
def test_measurements_are_printed_as_json(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--json`, `evaluate` and `tune` print what they found as data, with the same exit codes."""
    assert main(["evaluate", str(pairs), "--embedder", "offline", "--at", "0.9", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["at"] == 0.9
    assert {"same", "different", "right", "wrong"} == evaluated["rows"][0]["guarded"].keys()
    assert main(["tune", str(pairs), "--embedder", "offline", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["threshold"] is None


@pytest.mark.model
def test_tune_without_a_safe_threshold_says_so_and_exits_with_one(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the pairs prove no threshold safe, `tune` says so and exits with 1."""
    assert main(["tune", str(pairs), "--embedder", "offline"]) == 1
    assert "No threshold is wrong in at most 1 % of the hits with 95 % confidence" in capsys.readouterr().out


@pytest.mark.model
def test_tune_prints_the_line_to_paste(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With enough pairs and a modest target, `tune` prints the line to paste."""
    path = tmp_path / "pairs.jsonl"
    lines = [{"a": f"how do I cancel plan {a}", "b": f"how to cancel plan {a}", "same": True} for a in range(60)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    assert main(["tune", str(path), "--embedder", "offline", "--max-wrong", "0.1", "--of", "hits"]) == 0
    assert "@semantic_cache(threshold=" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "{folder}/absent.jsonl"], "absent.jsonl: No such file"),
        (["evaluate", "{folder}/broken.jsonl"], "line 1 is not JSON"),
        (["tune", "{folder}/unlabelled.jsonl"], "no labelled pairs"),
        (["tune", "{folder}/pairs.jsonl", "--max-wrong", "2"], "max_wrong=2.0"),
        (["evaluate", "{folder}/pairs.jsonl", "--at", "near"], "--at='near'"),
        (["evaluate", "{folder}/pairs.jsonl", "--at", "7"], "at=7.0"),
    ],
)
def test_an_error_is_told_in_one_line(
    arguments: list[str], message: str, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the command line is one line on standard error, and the exit code is 2."""
    (tmp_path / "broken.jsonl").write_text("{\n", encoding="utf-8")
    (tmp_path / "unlabelled.jsonl").write_text('{"a": "x", "b": "y", "same": null}\n', encoding="utf-8")
    assert main([argument.format(folder=tmp_path) for argument in arguments] + ["--embedder", "offline"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("recallm: error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.model
def test_a_terminal_gets_a_bar(
    pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal a progress bar is drawn, and is gone when the result is printed."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["evaluate", str(pairs), "--embedder", "offline"]) == 0
    drawn = capsys.readouterr().err
    assert "embedding [" in drawn
    assert drawn.endswith("\r\x1b[K")


@pytest.mark.model
def test_an_interrupt_ends_it_quietly(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt ends the program without a traceback, with the exit code that shells expect."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recallm.evaluation.evaluate.judge", interrupt)
    assert main(["evaluate", str(pairs), "--embedder", "offline"]) == 130


def test_it_runs_as_a_module() -> None:
    """``python -m recallm`` runs the command line."""
    command = [sys.executable, "-m", "recallm", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, "evaluate" in ended.stdout) == (0, True), ended.stderr
