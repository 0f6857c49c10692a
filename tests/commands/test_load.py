"""``export`` and ``load``: entries come back as they were, and a log's answers are those of a function's own calls."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from commands.conftest import STORAGE, Ran
from support import small_app

from recallm.commands.exchange import Exported, line_of, parsed
from recallm.engine.decision import is_fresh
from recallm.errors import InvalidValueError
from recallm.records import Candidate
from recallm.testing import StorageContract

Run = Callable[..., Ran]
APP = "support.small_app"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of a file."""
    return tmp_path / "entries.jsonl"


def write(file: Path, rows: Iterable[object]) -> str:
    """Write a log and return its path."""
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(file)


def outcome(explanation: Any) -> tuple[str, bool]:
    """Return what a call would get."""
    return explanation.outcome, explanation.exact


def forget_all() -> None:
    """Empty the storage."""
    for namespace in small_app.storage.namespaces():
        small_app.storage.invalidate(namespace)


def test_what_is_exported_and_loaded_is_served_as_before(run: Run, file: Path) -> None:
    """What is exported and loaded answers the calls that it answered, alike and similar, for as long as it had left."""
    small_app.answer("how do I reset my password")
    small_app.typed("what is this about")
    small_app.clock.advance(40)
    assert run("export", STORAGE, str(file)).err == "recallm: 2 entries exported\n"
    forget_all()
    assert run("load", STORAGE, str(file)) == Ran(0, "2 entries loaded\n", "")
    assert outcome(small_app.answer.explain("how do I reset my password")) == ("hit", True)
    assert outcome(small_app.answer.explain("how do I my password reset")) == ("hit", False)
    assert small_app.answer.explain("how do I reset my password", user="bob").outcome == "miss"
    assert small_app.typed("what is this about").pages == (1, 2)
    small_app.clock.advance(61)
    assert small_app.typed.explain("what is this about").outcome == "miss"


def test_an_export_is_for_its_owner_and_replaces_a_file_at_once(run: Run, file: Path) -> None:
    """The file is its owner's alone, takes an older one's place when it is whole, and no part stays behind."""
    file.write_text("older", encoding="utf-8")
    small_app.answer("one")
    assert run("export", STORAGE, str(file), "--namespace", f"{APP}.answer").code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text(encoding="utf-8"))["prompt"] == "one"
    assert list(file.parent.iterdir()) == [file]
    assert run("export", STORAGE, str(file / "no folder")).code == 2
    assert json.loads(file.read_text(encoding="utf-8"))["prompt"] == "one"


def test_pipes_carry_entries(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` is the standard output of an export, and the standard input of a load."""
    small_app.answer("one")
    exported = run("export", STORAGE, "-")
    forget_all()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(exported.out.encode())))
    assert run("load", STORAGE, "-").out == "1 entry loaded\n"
    assert small_app.answer.explain("one").exact


def test_an_empty_storage_exports_nothing(run: Run, file: Path) -> None:
    """If there is nothing to export, the exit code is 1."""
    assert run("export", STORAGE, str(file)) == Ran(1, "", "recallm: 0 entries exported\n")


def test_what_has_expired_since_is_not_loaded(run: Run, file: Path) -> None:
    """An entry that expired after the export is left out, and told."""
    small_app.typed("what is this about")
    run("export", STORAGE, str(file))
    row = json.loads(file.read_text(encoding="utf-8"))
    forget_all()
    ran = run("load", STORAGE, write(file, [{**row, "expires_at": row["stored_at"] - 1}]))
    assert ran == Ran(1, "0 entries loaded\n", "recallm: 1 not loaded: expired\n")


def test_an_entry_that_tells_no_expiry_needs_one(run: Run, file: Path) -> None:
    """Entries of a storage that does not tell when they expire are not loaded for ever unless that is said."""
    small_app.answer("one")
    run("export", STORAGE, str(file))
    row = json.loads(file.read_text(encoding="utf-8"))
    del row["expires_at"]
    path = write(file, [row])
    assert "give --ttl" in run("load", STORAGE, path).err
    for ttl, expires_in in (("50", 50.0), ("never", math.inf)):
        forget_all()
        assert run("load", STORAGE, path, "--ttl", ttl).code == 0
        (candidate,) = small_app.storage.entries(f"{APP}.answer")
        assert candidate.expires_in == expires_in
    assert run("load", STORAGE, path, "--ttl", "-1").code == 2


@pytest.mark.parametrize("words", [(), ("--for", f"{APP}:answer")])
def test_what_is_newer_stays(run: Run, file: Path, words: tuple[str, ...]) -> None:
    """Of an export that is a day old, only what has not been answered anew since is loaded."""
    for question in ("how do I reset my password", "where is my parcel"):
        small_app.answer(question)
    run("export", STORAGE, str(file))
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    older = [{**row, "stored_at": row["stored_at"] - 86_400, "seconds": 99.0} for row in rows]
    small_app.answer.invalidate("where is my parcel")
    assert run("load", STORAGE, write(file, older), *words) == Ran(0, "1 entry loaded, 1 newer one kept\n", "")
    assert run("load", STORAGE, str(file), *words) == Ran(0, "0 entries loaded, 2 newer ones kept\n", "")
    told = run("load", STORAGE, str(file), *words, "--json").json
    assert told == {"loaded": 0, "newer_kept": 2, "not_loaded": {}}
    assert small_app.answer.explain("where is my parcel").exact
    (kept,) = [each for each in small_app.storage.entries(f"{APP}.answer") if "password" in each.entry.prompt]
    assert kept.entry.seconds < 99


@pytest.mark.parametrize("words", [(), ("--for", f"{APP}:answer")])
def test_what_was_reported_since_is_not_loaded(run: Run, file: Path, words: tuple[str, ...]) -> None:
    """An answer that was reported to be wrong after it had been exported does not come back."""
    small_app.answer("where is my parcel")
    run("export", STORAGE, str(file))
    row = json.loads(file.read_text(encoding="utf-8"))
    assert small_app.answer.wrong("where is my parcel")
    path = write(file, [{**row, "stored_at": row["stored_at"] - 60}])
    assert run("load", STORAGE, path, *words).out == "0 entries loaded, 1 newer one kept\n"
    assert small_app.answer.explain("where is my parcel").reason == "reported"


def test_tags_are_loaded_with_their_entries(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry's tags go with it, so that a removal by tag reaches it; a storage that keeps no tags does not get it."""
    entry = StorageContract.entry("tagged", tags=("doc:42",))
    epoch = small_app.storage.recall("n", entry.key).epoch
    assert small_app.storage.put_tagged(entry, epoch, None, time.perf_counter()).kept
    run("export", STORAGE, str(file))
    forget_all()
    monkeypatch.setattr(small_app.storage, "keeps_tags", False)
    assert "they have tags, which the storage cannot keep" in run("load", STORAGE, str(file)).err
    monkeypatch.setattr(small_app.storage, "keeps_tags", True)
    assert run("load", STORAGE, str(file)).code == 0
    assert small_app.storage.remove_tagged("doc:42") == 1


def test_what_was_reported_wrong_is_not_loaded_again(run: Run, file: Path) -> None:
    """An export made before an answer was reported does not bring it back; one made after it brings the report back."""
    small_app.answer("one")
    run("export", STORAGE, str(file))
    assert small_app.answer.wrong("one") is True
    assert run("load", STORAGE, str(file)) == Ran(0, "0 entries loaded, 1 newer one kept\n", "")
    assert small_app.answer.explain("one").outcome == "miss"
    later = file.with_name("later.jsonl")
    run("export", STORAGE, str(later))
    forget_all()
    assert run("load", STORAGE, str(later)).code == 0
    assert small_app.answer.explain("one").reason == "reported"


def test_a_log_warms_a_function(run: Run, file: Path) -> None:
    """Questions and answers of a log are stored as if calls had returned them, with the arguments given."""
    path = write(file, [
        {"prompt": "how do I reset my password", "response": "Click."},
        {"prompt": "where is my order", "response": "Here.", "kwargs": {"user": "bob"}},
    ])  # fmt: skip
    assert run("load", STORAGE, path, "--for", f"{APP}:answer", "--kwargs", '{"user": "eve"}').code == 0
    small_app.embedder.embedded.clear()
    assert small_app.answer("how do I reset my password", user="eve") == "Click."
    assert small_app.answer("how do I my password reset", user="eve") == "Click."
    assert small_app.answer("where is my order", user="bob") == "Here."
    assert small_app.answer.explain("where is my order", user="eve").outcome == "miss"


def test_a_log_warms_an_async_chat(run: Run, file: Path) -> None:
    """A prompt becomes the message of a function with messages; a line may give all arguments itself."""
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "and then"}]
    path = write(
        file, [{"prompt": "hello there", "response": "Hi."}, {"kwargs": {"messages": turns}, "response": "So."}]
    )
    assert run("load", STORAGE, path, "--for", f"{APP}:chat").code == 0
    assert asyncio.run(small_app.chat([{"role": "user", "content": "hello there"}])) == "Hi."
    assert asyncio.run(small_app.chat(turns)) == "So."


def test_a_log_of_json_is_made_into_responses(run: Run, file: Path) -> None:
    """``--make`` makes what the function returns of a line's JSON."""
    path = write(file, [{"prompt": "what is this", "response": {"text": "A cache.", "pages": [7]}}])
    assert run("load", STORAGE, path, "--for", f"{APP}:typed", "--make", f"{APP}:made").code == 0
    assert small_app.typed("what is this") == small_app.Answer("A cache.", (7,))


def test_what_store_if_refuses_is_not_loaded(run: Run, file: Path) -> None:
    """An answer that a call would not store is not stored from a log either, and that is told."""
    ran = run("load", STORAGE, write(file, [{"prompt": "a", "response": ""}]), "--for", f"{APP}:answer")
    assert ran == Ran(1, "0 entries loaded\n", "recallm: 1 not loaded: refused by store_if\n")


def test_an_export_is_embedded_anew(run: Run, file: Path) -> None:
    """An export, loaded for the same function under another model, answers similar prompts by that model."""
    small_app.with_model("how do I reset my password")
    assert small_app.with_other_model.explain("how do I reset my password").outcome == "miss"
    run("export", STORAGE, str(file))
    refused = run("load", STORAGE, str(file), "--for", f"{APP}:with_other_model")
    assert refused.code == 1
    assert "made with other arguments, or by another model or code" in refused.err
    assert run("load", STORAGE, str(file), "--for", f"{APP}:with_other_model", "--was", "recallm/fake").code == 0
    assert small_app.with_other_model("how do I reset my password") == "old"
    assert outcome(small_app.with_other_model.explain("how do I my password reset")) == ("hit", False)


def test_an_export_is_loaded_for_its_own_arguments_only(run: Run, file: Path) -> None:
    """Of several users' exported answers each is loaded for its own user; a partition may be named instead."""
    for user in ("ada", "bob"):
        small_app.answer("what is my name", user=user)
    run("export", STORAGE, str(file))
    partition = next(
        row["partition"]
        for row in map(json.loads, file.read_text(encoding="utf-8").splitlines())
        if row["key"] == next(each.entry.key for each in small_app.storage.entries(f"{APP}.answer"))
    )
    forget_all()
    ran = run("load", STORAGE, str(file), "--for", f"{APP}:answer", "--kwargs", '{"user": "bob"}')
    assert (ran.code, ran.out) == (1, "1 entry loaded\n")
    assert small_app.answer("what is my name", user="bob") == "what is my name of bob: yes"
    assert small_app.answer.explain("what is my name", user="ada").outcome == "miss"
    ran = run(
        "load", STORAGE, str(file), "--for", f"{APP}:answer", "--kwargs", '{"user": "eve"}', "--partition", partition
    )
    assert ran.out == "1 entry loaded\n"
    assert small_app.answer("what is my name", user="eve") == "what is my name of ada: yes"


def test_the_functions_ttl_counts_from_when_an_entry_was_stored(run: Run, file: Path) -> None:
    """Loading for a function with a ttl makes no answer live longer than the ttl after it was made."""
    small_app.typed("what is this about")
    run("export", STORAGE, str(file))
    row = json.loads(file.read_text(encoding="utf-8"))
    forget_all()
    older = {**row, "stored_at": row["stored_at"] - 60, "expires_at": None}
    assert run("load", STORAGE, write(file, [older]), "--for", f"{APP}:typed").code == 0
    (candidate,) = small_app.storage.entries(f"{APP}.typed")
    assert candidate.expires_in is not None
    assert 30 < candidate.expires_in < 41
    ran = run("load", STORAGE, write(file, [{**row, "stored_at": row["stored_at"] - 101}]), "--for", f"{APP}:typed")
    assert ran.err == "recallm: 1 not loaded: expired\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--for", f"{APP}:plain"), "is a function, and not cached; decorate it with @semantic_cache"),
        (("--for", f"{APP}:absent"), "has no 'absent'"),
        (("--for", "absent_module:f"), "there is no module 'absent_module'"),
        (("--for", "answer"), "use module:attribute"),
        (("--for", f"{APP}:answer", "--kwargs", "[]"), "is no JSON object"),
        (("--was", "x"), "--was goes with --for"),
    ],
)
def test_what_cannot_be_loaded_for_is_told(run: Run, file: Path, words: tuple[str, ...], told: str) -> None:
    """A function that is not there or not cached, or options that do not fit, are told in one line."""
    ran = run("load", STORAGE, write(file, [{"prompt": "a", "response": "b"}]), *words)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_faulty_lines_are_named_and_the_others_loaded(run: Run, file: Path) -> None:
    """Lines that hold nothing to store are named with their numbers, without quoting them; the others are stored."""
    good = {"prompt": "one", "response": "yes"}
    file.write_text(f'{json.dumps(good)}\n\nnope secret\n{{"response": 1}}\n[1]\n{{"prompt": 1}}\n', encoding="utf-8")
    ran = run("load", STORAGE, str(file), "--for", f"{APP}:answer")
    assert (ran.code, ran.out) == (1, "1 entry loaded\n")
    assert "line 3 is not JSON" in ran.err
    assert 'line 4 has neither a "prompt" nor "kwargs" with one' in ran.err
    assert "line 5 is a list, not an object" in ran.err
    assert "4 not loaded: faulty" in ran.err
    assert "secret" not in ran.err
    assert "name the function that it is for: --for" in run("load", STORAGE, write(file, [good])).err


def test_a_prompt_that_the_function_finds_itself_needs_all_arguments(run: Run, file: Path) -> None:
    """If ``prompt=`` is a callable, a line gives the arguments, as no argument carries the prompt."""
    rows: list[object] = [{"prompt": "a", "response": "b"}, {"kwargs": {"words": ["one"]}, "response": "two"}]
    ran = run("load", STORAGE, write(file, rows), "--for", f"{APP}:exact", "--kwargs", '{"cache_context": {}}')
    assert ran.out == "1 entry loaded\n"
    assert 'give all "kwargs"' in ran.err
    assert small_app.exact(["one"], cache_context={}) == "two"


def test_a_conversation_is_loaded_whole(run: Run, file: Path) -> None:
    """Entries of a function whose history may be similar hold the whole conversation, and are found by it again."""
    turns = [("user", "tell me of Oslo"), ("assistant", "a city"), ("user", "how cold is it")]
    messages = [{"role": role, "content": text} for role, text in turns]
    small_app.similar(messages)
    run("export", STORAGE, str(file))
    forget_all()
    assert run("load", STORAGE, str(file), "--for", f"{APP}:similar").code == 0
    assert small_app.similar.explain(messages).exact
    ran = run("forget", STORAGE, "--similar-to", "how cold is it", "--yes")
    assert ran.out == "1 entry removed\n"


def test_a_method_is_loaded_for_its_object(run: Run, file: Path) -> None:
    """A method is named by its object, whose state counts; an export is for the object that made it."""
    small_app.kind.ask("how do I reset my password")
    run("export", STORAGE, str(file))
    forget_all()
    assert run("load", STORAGE, str(file), "--for", f"{APP}:stern.ask").code == 1
    assert run("load", STORAGE, str(file), "--for", f"{APP}:kind.ask").code == 0
    assert small_app.kind.ask.explain("how do I reset my password").exact
    assert small_app.stern.ask.explain("how do I reset my password").outcome == "miss"


def test_an_exact_functions_export_is_loaded(run: Run, file: Path) -> None:
    """Entries of a function that embeds nothing are proved by their keys, too."""
    small_app.translate("good morning")
    run("export", STORAGE, str(file))
    forget_all()
    assert run("load", STORAGE, str(file), "--for", f"{APP}:translate").code == 0
    assert small_app.translate.explain("good morning").exact
    row = json.loads(file.read_text(encoding="utf-8"))
    corrupt = write(file, [{**row, "payload": "AXR7"}])
    ran = run("load", STORAGE, corrupt, "--for", f"{APP}:translate")
    assert ran.err == "recallm: 1 not loaded: the response is none that this function can return\n"


def test_what_a_call_may_not_be_cached_for_is_told(run: Run, file: Path) -> None:
    """If a call of these arguments is not cached, the reason is told."""
    row = {"prompt": "a", "response": "b", "kwargs": {"nobody": 1}}
    ran = run("load", STORAGE, write(file, [row]), "--for", f"{APP}:answer")
    assert ran.err == "recallm: 1 not loaded: trouble with arguments\n"
    both = {"prompt": "a", "response": "b", "kwargs": {"question": "c"}}
    assert "leave one out" in run("load", STORAGE, write(file, [both]), "--for", f"{APP}:answer").err


def exported(**changes: object) -> str:
    """Return a line of an export with some of its fields changed."""
    entry = StorageContract.entry("hello")
    return json.dumps({**json.loads(line_of(Candidate(entry, 1.0, 1.0, math.inf), 100.0)), **changes})


def test_a_line_holds_the_whole_entry() -> None:
    """What is written of an entry is read again: every field, its vector to the last bit, its age and its expiry."""
    entry = StorageContract.entry(seconds=0.5, tokens=3, fresh_for=2.0, tags=("doc:42",))
    entry = entry._replace(prompt="h\ud800i\n", cost=0.25)
    row = parsed(line_of(Candidate(entry, 1.0, 30.0, 70.0), 1000.0))
    assert isinstance(row, Exported)
    assert row.entry.vector is not None
    assert entry.vector is not None
    assert row.entry.vector.tobytes() == entry.vector.tobytes()
    assert row.entry._replace(vector=None) == entry._replace(vector=None)
    assert (row.stored_at, row.expires_at) == (970.0, 1070.0)
    bare = parsed(line_of(Candidate(entry._replace(vector=None), 1.0, 30.0), 1000.0))
    assert isinstance(bare, Exported)
    assert (bare.entry.vector, bare.expires_at) == (None, None)


def test_what_is_kept_but_no_longer_served_is_not_served_after_a_load(run: Run, file: Path) -> None:
    """An answer that is kept in case its function fails stays one: loading it does not make it fresh again."""
    entry = StorageContract.entry("hello", fresh_for=60.0)
    rows = [line_of(Candidate(entry._replace(key=key), 1.0, age, math.inf), time.time()) for key, age in AGES.items()]
    file.write_text("\n".join(rows), encoding="utf-8")
    assert run("load", STORAGE, str(file)).code == 0
    found = {each.entry.key: is_fresh(each) for each in small_app.storage.entries(entry.namespace)}
    assert found == {"young": True, "old": False}


AGES = {"young": 30.0, "old": 90.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"recallm": 2},
        {"key": None},
        {"prompt": 1},
        {"payload": "*"},
        {"payload": 1},
        {"vector": "AAAA"},
        {"vector": "AAAAAA=="},
        {"vector": ""},
        {"stored_at": None},
        {"stored_at": True},
        {"expires_at": "soon"},
        {"expires_at": math.inf},
        {"seconds": "1"},
        {"tokens": -1},
        {"tokens": 1.5},
        {"tokens": 1 << 63},
        {"fresh_for": []},
        {"tags": "doc"},
        {"tags": [1]},
        {"cost": "1"},
    ],
    ids=str,
)
def test_an_odd_line_of_an_export_is_refused(changes: dict[str, object]) -> None:
    """Nothing of an exported line is believed unchecked."""
    assert isinstance(parsed(exported()), Exported)
    with pytest.raises(InvalidValueError):
        parsed(exported(**changes))


def test_a_device_is_written_to_as_it_is(run: Run) -> None:
    """An export to a device does not try to take its place."""
    small_app.answer("one")
    assert run("export", STORAGE, os.devnull).code == 0
    assert Path(os.devnull).is_char_device()
