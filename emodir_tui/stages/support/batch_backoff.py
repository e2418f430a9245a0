"""Batch sizes of the searches, which shrink for the rest of a run when the device's memory runs out."""

from collections.abc import Callable
from typing import TypeVar

from emodir_tui.runs.directory import write_json
from emodir_tui.runs.names import StageName
from emodir_tui.runs.reading import read_json
from emodir_tui.runs.run import Run
from emodir_tui.training.memory import is_out_of_memory, release_cached_memory

T = TypeVar("T")
SMALLEST = 2


def with_batch_backoff(run: Run, stage: StageName, batch: int, work: Callable[[int], T]) -> T:
    """`work(batch)`; where that does not fit into the device's memory, again with half of the batch.

    Parts of the work that are finished are on disk and are not done again.

    Args:
        run: The run; it keeps the batch that was found to fit.
        stage: Whose batch it is.
        batch: Images in a batch, as the profile asks.
        work: Works with a batch of this many images.

    Raises:
        RuntimeError: The smallest batch does not fit either (`is_out_of_memory`), or whatever the work raises.
    """
    while True:
        fitting = current_batch(run, stage, batch)
        try:
            return work(fitting)
        except RuntimeError as error:
            if not is_out_of_memory(error) or fitting // 2 < SMALLEST:
                raise
            sizes = read_json(run.directory.batches_file) or {}
            write_json(run.directory.batches_file, {**sizes, stage: fitting // 2})
            run.log(f"out of memory: continuing with batches of {fitting // 2} instead of {fitting}", "warning", stage)
        release_cached_memory()


def current_batch(run: Run, stage: StageName, batch: int) -> int:
    """The batch of a stage: the given one, or a smaller one that was found to fit, in an earlier attempt too."""
    known = (read_json(run.directory.batches_file) or {}).get(stage)
    return min(batch, known) if isinstance(known, int) and known >= SMALLEST else batch
