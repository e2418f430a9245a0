"""Text from outside is shown by every command, never obeyed by the terminal."""

import ast
import json
import os
from pathlib import Path

import pytest

import emodir_tui

PACKAGE = Path(emodir_tui.__file__).parent
NASTY = "a\x1b[31mred\x1b]0;title\x07\x9b2J\u202e"
# What prints for people; and events.py, whose lines are JSON in ASCII.
PRINTERS = {"reports/lines.py", "reports/tables.py", "reports/events.py", "cli/app.py", "reports/doctor.py"}


def events(folder):
    pick = {"name": NASTY, "scheme": 0, "rule": NASTY, "complexity_kept": 0.5}
    scheme = {"scheme": 0, "complexity": 0.5, "complexity_kept": 0.5, "impairment": 0.1, "members": []}
    lines = [
        {"kind": "run_opened", "attempt": 1, "pid": 1, "host": NASTY, "device": NASTY},
        {"kind": "joint_finished", "schemes": [scheme], "knee": 0, "hypervolume": 0.5},
        {"kind": "picks_chosen", "picks": [pick]},
        {"kind": "pick_finished", "pick": NASTY, "accuracy": 0.5, "file": "export/x"},
        {"kind": "message", "text": NASTY, "level": "info"},
        {"kind": "run_closed", "outcome": "failed", "error": NASTY, "hint": NASTY},
    ]
    return "".join(json.dumps({"v": 1, "seq": at, "time": 1.0} | line) + "\n" for at, line in enumerate(lines, 1))


@pytest.fixture
def hostile(emodir):
    run = emodir.folder / "runs" / NASTY
    (run / "events").mkdir(parents=True)
    (run / "export").mkdir()
    (run / "export" / "x").write_text("")
    (run / "profile.toml").write_text("")
    (run / "worker.log").write_text(NASTY)
    (run / "events" / "0001.jsonl").write_text(events(run))
    return emodir


def test_a_pick_is_named_literally(hostile):
    assert "as pick 'a␛[31mred" in hostile("realise", "a", "--scheme", "0").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["realise", "a", "--scheme", "0"],
        ["realise", "a", "--kept", "0.00001"],
        ["runs"],
        ["show", "a"],
        ["logs", "a"],
        ["logs", "a", "--worker"],
        ["ranking", "a"],
        ["compare", "a"],
        ["events", "a"],
        ["watch", "a", "--no-tui"],
        ["stop", "a"],
        ["export", "a"],
        ["show", NASTY + "x"],
        ["verify", NASTY],
    ],
)
def test_no_escape_sequence_reaches_the_terminal(hostile, arguments):
    result = hostile(*arguments)
    shown = result.stdout + result.stderr
    assert shown
    assert not [c for c in shown if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 or c == "\u202e"]


def test_a_name_that_is_not_text_is_shown(emodir):
    path = emodir.folder / "runs" / os.fsdecode(b"a\xff")
    path.mkdir(parents=True)
    (path / "profile.toml").write_text("")
    for command in ("runs", "show"):
        result = emodir(command)
        assert result.returncode == 0, result.stderr
        assert "a\\udcff" in result.stdout


def test_only_modules_that_make_text_harmless_write_to_the_terminal():
    writers = set()
    for path in [*PACKAGE.glob("cli/*.py"), *PACKAGE.glob("reports/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called == "print" or called in ("sys.stdout.write", "sys.stderr.write"):
                    writers.add(str(path.relative_to(PACKAGE)))
    assert writers <= PRINTERS
