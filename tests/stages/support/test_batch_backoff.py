from types import SimpleNamespace

import pytest
import torch

from emodir_tui.profile import Profile
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.run import Run
from emodir_tui.stages.support.batch_backoff import current_batch, with_batch_backoff


@pytest.fixture
def run(tmp_path):
    codec = SimpleNamespace(pack=None, unpack=None)
    with Run(RunDirectory(tmp_path), Profile(), codec) as made:
        yield made


OUT = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", OUT, ids=["torch", "cudnn", "engine", "cublas", "cpu"])
def test_a_batch_that_does_not_fit_is_halved_for_good_and_said(run, error):
    tried = []

    def work(batch):
        tried.append(batch)
        if batch > 40:
            raise error
        return "done"

    assert with_batch_backoff(run, "search", 125, work) == "done"
    assert tried == [125, 62, 31]
    assert current_batch(run, "search", 125) == 31
    assert current_batch(run, "joint", 125) == 125
    log = (run.directory.events_folder / "0001.jsonl").read_text()
    assert "continuing with batches of 31 instead of 62" in log


def test_memory_that_holds_nothing_is_an_error(run):
    def work(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        with_batch_backoff(run, "search", 125, work)


def test_other_errors_shrink_nothing(run):
    tried = []

    def work(batch):
        tried.append(batch)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        with_batch_backoff(run, "search", 125, work)
    assert tried == [125]
