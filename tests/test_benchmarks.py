"""The benchmarks in their quick form, so that none of them rots; what they print here is no measurement."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def attempt(script, *arguments):
    command = [sys.executable, str(BENCHMARKS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=BENCHMARKS.parent)


def call(script, *arguments):
    done = attempt(script, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_quality_measures_every_method_once_and_its_page_shows_them(tmp_path):
    results = tmp_path / "results"
    out = results / "quality-digits.json"
    flags = ("profiles/digits.toml", "--quick", "--work", tmp_path / "runs", "--out", out)
    call("quality.py", *flags)
    rows = json.loads(out.read_text())["rows"]
    methods = {row["method"] for row in rows}
    assert len(rows) == len(methods) == 11
    for row in rows:
        assert 0 < row["finetuned"] <= 1
        if row["method"] != "original":
            assert 0.3 < row["macs_kept"] <= row["level"] == 0.5
    # Nothing is measured twice.
    assert "{" not in call("quality.py", *flags)
    more = json.loads(call("quality.py", *flags, "--more-steps", 5, "--methods", "random"))
    assert (more["method"], more["more_steps"]) == ("random", 5)
    # A run with other settings is not taken for this one.
    elsewhere = (*flags[:-1], tmp_path / "other.json", "--set", "constrain.learning_rate=0.01")
    assert "a run with other settings" in attempt("quality.py", *elsewhere).stderr
    (tmp_path / "images").mkdir()
    call("../tools/pages.py", "--results", results, "--page", tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text()
    assert all(page.count(f"| {method} | ") == 3 for method in methods - {"original"})
    assert "| random, 5 more steps | " in page
    assert (tmp_path / "images" / "accuracy-digits.svg").read_text().startswith("<?xml")


def test_steps_differ_in_one_setting_and_their_page_shows_them(tmp_path):
    results = tmp_path / "results"
    out = results / "steps-digits.json"
    variants = ["default", "no constrained training"]
    flags = ("--quick", "--work", tmp_path / "runs", "--out", out, "--variants", *variants)
    call("steps.py", "profiles/digits.toml", *flags)
    rows = json.loads(out.read_text())["rows"]
    assert [row["method"] for row in rows] == variants
    (tmp_path / "images").mkdir()
    call("../tools/pages.py", "--results", results, "--page", tmp_path / "results.md")
    assert "| no constrained training | " in (tmp_path / "results.md").read_text()


def test_search_compares_both_sides_on_the_same_masks(tmp_path):
    out = tmp_path / "search.json"
    call("search.py", "--quick", "--out", out)
    measured = json.loads(out.read_text())
    row = measured["candidates"]["resnet20"]
    assert min(row["full"]["ours_ms"], row["full"]["stacked_ms"], row["full"]["bare_ms"], row["general_ms"]) > 0
    assert measured["memory"]["ours_mb"] > 0


def test_listing_measures_commands_that_read_runs():
    printed = call("listing.py", "--runs", 3, "--events", 300, "--line", 1)
    assert printed.count("s of CPU") == 8


def test_the_time_left_is_judged_at_each_share_of_a_run():
    lines = call("eta.py").splitlines()
    assert lines[1].startswith("recorded-run")
    assert lines[1].endswith("not judged")
    assert lines[-1] == "largest error from 20% on: 0%"


def test_damaged_files_of_every_kind_give_no_traceback_and_no_hang(tmp_path):
    printed = call("fuzz.py", "--cases", 34, "--kept", tmp_path)
    assert "34 cases in" in printed
    assert list(tmp_path.iterdir()) == []
