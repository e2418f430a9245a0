"""A run directory of somebody else may lead a worker elsewhere by links, and a killed one leaves files behind."""

import os

import pytest

from emodir_tui.errors import ConflictError
from emodir_tui.profile import Profile
from emodir_tui.runs.directory import TEMPORARY, make_folder
from emodir_tui.runs.heartbeat import Heartbeat
from emodir_tui.runs.launch import check_resumable
from emodir_tui.runs.run import Run
from emodir_tui.worker import run_attempt
from tests.runs.test_worker_side import CODEC

PLACES = ["control", "events", "results", "checkpoints", "fronts", "export", "tensorboard", "aside"]
FILES = ["heartbeat", "worker.log", "worker.lock", "picks.json", "batches.json"]


@pytest.mark.parametrize("attempt", [check_resumable, run_attempt])
@pytest.mark.parametrize("name", [*PLACES, *FILES, "export/knee.safetensors", "results/baseline.result"])
def test_a_link_in_a_run_directory_is_refused_and_what_it_points_to_stays(directory, tmp_path, attempt, name):
    elsewhere = tmp_path / "elsewhere"
    if name in PLACES:
        elsewhere.mkdir()
        (elsewhere / "settings.json").write_text("mine")
    else:
        elsewhere.write_text("mine")
    make_folder((directory.path / name).parent)
    (directory.path / name).symlink_to(elsewhere)
    with pytest.raises(ConflictError, match=f"{name} is a symbolic link, and a worker would write where it points"):
        attempt(directory)
    assert (elsewhere / "settings.json" if name in PLACES else elsewhere).read_text() == "mine"
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_heartbeat_is_not_written_through_a_link(directory, tmp_path):
    victim = tmp_path / "notes.txt"
    victim.write_text("mine")
    directory.heartbeat_file.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        Heartbeat(directory.heartbeat_file, dict)
    assert victim.read_text() == "mine"


def test_the_successor_removes_what_a_killed_worker_was_writing(directory):
    gone, alive = 2**22 - 1, os.getpid()
    left = [f".ck-0001.checkpoint.{pid}.0123ab{TEMPORARY}" for pid in (gone, alive)]
    others = [".nfs0001", "mine.tmp", f".linked.{gone}.0123ab{TEMPORARY}"]
    for folder in (
        directory.checkpoints_folder,
        directory.results_folder,
        directory.fronts_folder,
        directory.export_folder,
    ):
        folder.mkdir()
        for name in (*left, *others[:2]):
            (folder / name).write_text("half")
        (folder / others[2]).symlink_to(directory.profile_file)
    with Run(directory, Profile(), CODEC):
        pass
    assert {path.name for path in directory.checkpoints_folder.iterdir()} == {left[1], *others}
    assert {path.name for path in directory.export_folder.iterdir()} == {left[1], *others}
