"""The manners of all commands: pipes, colours, passwords, keys from the environment, and a demo that shows it all."""

from __future__ import annotations

import os
import pty
import select
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from commands.conftest import STORAGE, Ran
from cryptography.fernet import Fernet
from support import small_app
from support.redis_servers import Server
from support.redis_storages import make, put, storage_on

from recallm.__main__ import COMMANDS, main
from recallm.commands import output
from recallm.commands.output import Progress, duration, in_one_line, print_table, printable, shortened
from recallm.storage.sqlite.storage import TIMEOUT_SECONDS

Run = Callable[..., Ran]

ROOT = Path(__file__).parents[2]


def program(*words: str) -> list[str]:
    """Return the command line of a process of its own."""
    return [sys.executable, "-m", "recallm", *words]


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of a process that can import this package and the tests' support."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONIOENCODING": "utf-8"}


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command tells its arguments, and the whole tells each command and the exit codes."""
    for words in ([name, "--help"] for name in COMMANDS):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        assert f"usage: python -m recallm {words[0]}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "exit codes:" in shown
    assert all(name in shown for name in COMMANDS)


def test_only_the_command_that_is_asked_for_is_loaded(environment: dict[str, str]) -> None:
    """A command does not wait for what others need."""
    code = (
        "import sys; from recallm.__main__ import main; code = main(['entries', 'memory://']);"
        "sys.exit(code + 10 * ('recallm.commands.load' in sys.modules or 'recallm.evaluation' in sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60).returncode == 1
    )


def test_a_reader_that_leaves_ends_it_quietly(environment: dict[str, str], tmp_path: Path) -> None:
    """If nobody reads the output any more, the program ends without a traceback."""
    setup = "import sys; from support import small_app;[small_app.answer(f'{n} what') for n in range(600)];"
    setup += "from recallm.__main__ import main; sys.exit(main(['export', 'support.small_app:storage', '-']))"
    with subprocess.Popen(
        [sys.executable, "-c", setup], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(timeout=60) == 141
    assert b"Traceback" not in told
    assert b"BrokenPipe" not in told


def seen_on_terminal(words: list[str], environment: dict[str, str]) -> str:
    """Return what a command writes on a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(program(*words), env=environment, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        seen = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and select.select([ours], [], [], 60)[0]:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            seen += part
        process.wait(timeout=60)
    os.close(ours)
    return seen.decode()


def test_titles_are_bold_on_a_terminal_unless_no_color_is_set(environment: dict[str, str], tmp_path: Path) -> None:
    """A terminal gets bold titles, and none of these with ``NO_COLOR``."""
    metrics = tmp_path / "metrics"
    metrics.write_text('recallm_misses_total{cache="a"} 2.0\n', encoding="utf-8")
    environment = {**environment, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    assert "\x1b[1m" in seen_on_terminal(["stats", str(metrics)], environment)
    assert "\x1b" not in seen_on_terminal(["stats", str(metrics)], {**environment, "NO_COLOR": "1"})


@pytest.mark.parametrize("columns", [None, 40, 80])
def test_a_table_fits_the_terminal(
    columns: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last column is shortened to the terminal; a pipe gets it whole, and wide characters count twice."""
    monkeypatch.setattr(output, "_columns", lambda: columns)
    print_table(("KEY", "PROMPT"), [("abc", "long " * 30), ("d", "これは長い質問です" * 10)])
    lines = capsys.readouterr().out.splitlines()
    if columns is None:
        assert lines[1] == "abc  " + ("long " * 30).rstrip()
    else:
        assert all(output._cells(line) <= columns for line in lines)
        assert all(line.endswith("…") for line in lines[1:])


def test_what_cannot_be_shown_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an output that knows ASCII only, other characters are escaped rather than an error."""
    monkeypatch.setattr(output, "_shows_unicode", lambda _: False)
    assert printable("é\u202e") == "\\xe9\\u202e"
    assert shortened("abcdefgh", 6) == "abc..."


def test_a_bar_is_drawn_seldom_and_cleared(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar is drawn on a terminal at the first step, not at every one, and is gone in the end."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = Progress()
    for done in range(1001):
        progress("reading", done, 1000)
    drawn = capsys.readouterr().err
    assert drawn.startswith("\rreading   [")
    assert drawn.count("reading") < 1000
    assert drawn.endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0 s"), (0.0042, "4.2 ms"), (0.25, "0.25 s"), (59.9, "59 s"), (3600, "1 h"), (90_000, "1 d 1 h")],
)
def test_durations_are_short(seconds: float, shown: str) -> None:
    """A duration is shown in one or two units."""
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secretword@localhost:1/0",
        "redis://ada:secretword@[/0",
        "http://a:secretword@x/",
        "redis://a:se%63ret@h",
    ],
)
def test_no_password_is_printed(url: str) -> None:
    """Neither a URL with a password, nor the password, stands in an error's line."""
    shown = in_one_line(ValueError(f"cannot use {url} (secretword, secret)"), ["entries", url])
    assert "se%63ret" not in shown
    assert "secretword" not in shown or "se%63" in url
    assert url not in shown


def test_a_server_that_is_not_there_is_told_without_its_password(run: Run) -> None:
    """A URL that leads nowhere, or cannot be read, is an error in one line without the password."""
    for url in (
        "redis://:secretword@127.0.0.1:1/0",
        "redis://ada:secretword@127.0.0.1:port/0",
        "nope://a:secretword@h",
    ):
        ran = run("entries", url)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("recallm: error: ")
        assert "secretword" not in ran.err
        assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("support.small_app:answer", "is a CachedFunction; name a storage, or give a URL"),
        ("support.small_app:absent", "has no 'absent'"),
        ("support.small_app", "use module:attribute"),
        ("absent.module:x", "there is no module 'absent' here"),
        ("unheard://x", "no storage has URLs of scheme 'unheard'"),
    ],
)
def test_a_storage_that_is_none_is_told(run: Run, name: str, told: str) -> None:
    """What names no storage is told with what does."""
    ran = run("entries", name)
    assert ran.code == 2
    assert told in ran.err


def test_a_module_that_fails_is_told_by_its_own_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the program's module cannot be imported for want of another, that one is named; this folder is looked in."""
    (tmp_path / "lacking_app.py").write_text("import not_installed_anywhere\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    ran = run("entries", "lacking_app:storage")
    assert (ran.code, ran.err) == (
        2, "recallm: error: ModuleNotFoundError: No module named 'not_installed_anywhere'\n",
    )  # fmt: skip


def test_keys_come_from_the_environment(run: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed and encrypted entries are read, exported and loaded with the keys in the environment, and not without."""
    server.empty()
    key = Fernet.generate_key()
    fernet = Fernet(key)
    storage = storage_on(server, secret=b"\x01" * 16, encrypt=fernet.encrypt, decrypt=fernet.decrypt)
    put(storage, make("secret question"))
    monkeypatch.setenv("RECALLM_SECRET", "hex:" + "01" * 16)
    monkeypatch.setenv("RECALLM_ENCRYPTION_KEY", Fernet.generate_key().decode())
    stranger = run("entries", server.url, "n")
    assert (stranger.code, stranger.out) == (1, "")
    assert "none of the 1 entries can be read: they are signed or encrypted" in stranger.err
    assert "cannot be read" in run("entries", server.url).err
    assert "1 were removed meanwhile, or cannot be read" in run("export", server.url, os.devnull).err
    monkeypatch.setenv("RECALLM_ENCRYPTION_KEY", f"{Fernet.generate_key().decode()},{key.decode()}")
    assert "secret question" in run("entries", server.url, "n").out
    monkeypatch.setenv("RECALLM_SECRET", "base64:AQEBAQEBAQEBAQEBAQEBAQ==")
    assert "secret question" in run("entries", server.url, "n").out


def test_a_file_gets_the_keys_and_must_be_there(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not there is told, not made, unless it is loaded into; one that is there is read with the keys."""
    path = tmp_path / "answers.db"
    url, log = f"sqlite:///{path}", tmp_path / "log"
    assert run("entries", url) == Ran(2, "", f"recallm: error: there is no file '{path}'\n")
    assert not path.exists()
    log.write_text('{"prompt": "one two", "response": "yes"}\n', encoding="utf-8")
    assert run("load", url, str(log), "--for", "support.small_app:answer").code == 0
    assert "one two" in run("entries", url, "support.small_app.answer").out
    monkeypatch.setenv("RECALLM_SECRET", "s" * 16)
    assert "cannot be read" in run("entries", url).err


def test_the_bound_of_a_file_holds_with_keys_too(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded keeps to the bound in the URL, whether or not entries are signed."""
    monkeypatch.setenv("RECALLM_SECRET", "s" * 16)
    log, url = tmp_path / "log", f"sqlite:///{tmp_path / 'answers.db'}?max_entries=2"
    rows = [f'{{"prompt": "{prompt}", "response": "yes"}}\n' for prompt in ("one", "two", "three", "four")]
    log.write_text("".join(rows), encoding="utf-8")
    assert run("load", url, str(log), "--for", "support.small_app:answer").code == 0
    assert len(run("entries", url, "support.small_app.answer", "--json").json) == 2


def test_a_command_waits_for_others_who_write_to_a_file(run: Run, tmp_path: Path) -> None:
    """A file that a program keeps locked for longer than a call would wait is loaded into all the same."""
    path, log = tmp_path / "answers.db", tmp_path / "log"
    log.write_text('{"prompt": "one two", "response": "yes"}\n', encoding="utf-8")
    load = ("load", f"sqlite:///{path}", str(log), "--for", "support.small_app:answer")
    assert run(*load).code == 0
    with closing(sqlite3.connect(path, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        ends = threading.Timer(10 * TIMEOUT_SECONDS, other.rollback)
        ends.start()
        assert run(*load).code == 0
        ends.join()


@pytest.mark.parametrize(
    ("name", "value"),
    [("RECALLM_SECRET", "hex:zz"), ("RECALLM_SECRET", "too-short!"), ("RECALLM_ENCRYPTION_KEY", "no key of Fernet's")],
)
def test_a_key_that_is_none_is_told_without_quoting_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A variable that holds no key is an error that does not show it."""
    monkeypatch.setenv(name, value)
    ran = run("entries", "redis://127.0.0.1:1/0")
    assert ran.code == 2
    assert name in ran.err
    assert value not in ran.err.replace("no key of Fernet's;", "")


def test_a_redis_server_is_looked_into(run: Run, server: Server, tmp_path: Path) -> None:
    """Everything works on a real server: list, show, export, forget, load."""
    server.empty()
    entry = make("where is my order")
    put(storage_on(server, prefix="mine"), entry, ttl=60.0)
    where = (server.url, "--prefix", "mine")
    assert "1 " in run("entries", *where).out
    assert run("entries", server.url).code == 1
    assert "where is my order" in run("show", *where, entry.key).out
    assert run("export", *where, str(tmp_path / "all.jsonl")).code == 0
    assert run("forget", *where, "--all", "--yes").out == "1 entry removed\n"
    assert run("load", *where, str(tmp_path / "all.jsonl")).code == 0
    (listed,) = run("entries", *where, "--namespace", "n", "--json").json
    assert 0 < listed["expires_in"] <= 60
    assert run("forget", *where, "--key", entry.key, "--yes").code == 0
    assert run("entries", STORAGE, "--prefix", "mine").code == 2


@pytest.mark.model
def test_the_demo_shows_a_hit_and_a_look_alike_that_is_refused(run: Run) -> None:
    """The demo serves a rewording, and a guard refuses what only looks alike."""
    ran = run("demo", "--embedder", "offline")
    assert ran.code == 0
    lines = [line.split() for line in ran.out.splitlines()]
    assert [line[0] for line in lines[1:5]] == ["miss", "hit", "miss", "hit"]
    assert lines[3][1] == "opposites_are_absent"
    assert len(lines) <= 10
    assert "2 hits, 2 misses" in ran.out


def test_an_embedder_of_the_program_may_be_named(run: Run) -> None:
    """``--embedder module:attribute`` names an object; one that is no embedder is an error."""
    small_app.answer("one")
    ran = run("forget", STORAGE, "--similar-to", "one", "--yes", "--embedder", "support.small_app:plain")
    assert ran.code == 2
    assert "has no embed method" in ran.err
