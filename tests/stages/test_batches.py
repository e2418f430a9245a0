from types import SimpleNamespace

import pytest
import torch

from emodir_tui.profile import Profile
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.log import Run
from emodir_tui.stages.batches import batch_of, in_memory


@pytest.fixture
def run(tmp_path):
    codec = SimpleNamespace(pack=None, unpack=None)
    with Run(RunDirectory(tmp_path), Profile(), codec) as made:
        yield made


def test_a_batch_that_does_not_fit_is_halved_for_good_and_said(run):
    tried = []

    def work(batch):
        tried.append(batch)
        if batch > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    assert in_memory(run, "search", work) == "done"
    assert tried == [125, 62, 31]
    assert batch_of(run, "search") == 31
    assert batch_of(run, "joint") == 125
    log = (run.directory.events_folder / "0001.jsonl").read_text()
    assert "goes on with batches of 31 instead of 62" in log


def test_memory_that_holds_nothing_is_an_error(run):
    def work(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        in_memory(run, "search", work)
