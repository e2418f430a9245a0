"""A log that lost its end, a line, or all of it gets the facts again that the results on disk hold."""

import json
import shutil
from dataclasses import asdict

import msgspec
import pytest

from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.event_types import Fact
from emodir_tui.runs.events import KINDS, read_all
from emodir_tui.runs.fold import replay

FACTS = [kind for kind, record in KINDS.items() if issubclass(record, Fact)]


def state_of(directory):
    return replay(read_all(directory.events_folder))


def facts_of(directory):
    """All that readers know of a run, but for times, speeds and the worker's own doings."""
    state = state_of(directory)
    parts = {name: asdict(part) for name, part in state.subnetworks.items()}
    for part in (*parts.values(), joint := asdict(state.joint)):
        part.pop("evaluations_per_second")
    epochs = {key: msgspec.structs.replace(epoch, seq=0, time=0) for key, epoch in state.epochs.items()}
    return {
        "baseline": msgspec.structs.replace(state.baseline, seq=0, time=0),
        "parts": parts,
        "protected": state.protected,
        "epochs": epochs,
        "ranking": {rank: asdict(row) for rank, row in state.ranking.items()},
        "joint": joint,
        "picks": {name: asdict(pick) for name, pick in state.picks.items()},
        "stages": {name: stage.state for name, stage in state.stages.items()},
        "outcome": state.outcome,
    }


@pytest.fixture
def copied(finished, tmp_path):
    """The finished run again, in a folder of its own; (command, directory, the undisturbed run's facts)."""
    emodir, run, _ = finished
    source = emodir.folder / "runs" / run
    target = tmp_path / "runs" / run
    shutil.copytree(source, target)
    return emodir, RunDirectory(target), facts_of(RunDirectory(source))


def resume(emodir, directory):
    # The worker before was this process, which still lives.
    directory.heartbeat_file.unlink(missing_ok=True)
    done = emodir("resume", str(directory.path), "--foreground")
    assert done.returncode == 0, done.stderr


def told_again(directory):
    """The facts in the newest attempt's part of the log."""
    lines = directory.event_segments()[-1].read_bytes().splitlines()
    return [kind for line in lines if (kind := json.loads(line)["kind"]) in FACTS]


@pytest.mark.parametrize("kind", FACTS)
@pytest.mark.parametrize("cut", ["first", pytest.param("last", marks=pytest.mark.full)])
def test_a_log_cut_before_an_event_is_completed_from_the_results(copied, kind, cut):
    emodir, directory, undisturbed = copied
    (segment,) = directory.event_segments()
    lines = segment.read_bytes().splitlines(keepends=True)
    numbers = [number for number, line in enumerate(lines) if json.loads(line)["kind"] == kind]
    segment.write_bytes(b"".join(lines[: numbers[0 if cut == "first" else -1]]))
    resume(emodir, directory)
    assert facts_of(directory) == undisturbed


def test_a_deleted_log_is_written_again(copied):
    emodir, directory, undisturbed = copied
    shutil.rmtree(directory.events_folder)
    resume(emodir, directory)
    assert facts_of(directory) == undisturbed


@pytest.mark.parametrize("kind", ["front_finished", "epoch"])
def test_a_damaged_line_of_a_finished_run_is_mended_by_resuming_it(copied, kind):
    emodir, directory, undisturbed = copied
    (segment,) = directory.event_segments()
    lines = segment.read_bytes().splitlines(keepends=True)
    number = max(number for number, line in enumerate(lines) if json.loads(line)["kind"] == kind)
    lines[number] = lines[number][:20] + b"\n"
    segment.write_bytes(b"".join(lines))
    assert facts_of(directory) != undisturbed
    resume(emodir, directory)
    assert facts_of(directory) == undisturbed


def test_nothing_is_told_again_where_nothing_is_lost(copied):
    emodir, directory, undisturbed = copied
    (segment,) = directory.event_segments()
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(line for line in lines if json.loads(line)["kind"] != "run_closed"))
    resume(emodir, directory)
    assert facts_of(directory) == undisturbed
    assert not told_again(directory)
    # What was completed once is whole from then on.
    segment.write_bytes(b"".join(lines[: len(lines) // 2]))
    resume(emodir, directory)
    assert facts_of(directory) == undisturbed
    assert told_again(directory)
    newest = directory.event_segments()[-1]
    newest.write_bytes(newest.read_bytes().rpartition(b'{"kind":"run_closed"')[0])
    resume(emodir, directory)
    assert not told_again(directory)


def test_a_run_that_went_back_and_lost_its_log_since_tells_again_what_it_kept(copied):
    emodir, directory, undisturbed = copied
    checkpoint = sorted(path.stem for path in directory.checkpoint_files())[0]
    done = emodir("resume", str(directory.path), "--from", checkpoint, "--foreground")
    assert done.returncode == 0, done.stderr
    again = facts_of(directory)
    assert {key: again[key] for key in ("parts", "ranking", "joint")} == {
        key: undisturbed[key] for key in ("parts", "ranking", "joint")
    }
    newest = directory.event_segments()[-1]
    lines = newest.read_bytes().splitlines(keepends=True)
    rewound = next(number for number, line in enumerate(lines) if json.loads(line)["kind"] == "rewound")
    newest.write_bytes(b"".join(lines[: rewound + 1]))
    resume(emodir, directory)
    assert facts_of(directory) == again
