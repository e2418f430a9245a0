"""Batch sizes of the searches, which shrink for good when the device's memory runs out."""

from collections.abc import Callable
from typing import TypeVar

from emodir_tui.runs.directory import read_json, write_json
from emodir_tui.runs.run import Run
from emodir_tui.training.memory import is_out_of_memory, release_cached_memory

T = TypeVar("T")
SMALLEST = 2


def current_batch(run: Run, stage: str) -> int:
    """The stage's batch: the profile's, or the smaller one that was found to fit. Kept on disk, so a resume knows it."""
    known = (read_json(run.directory.batches_file) or {}).get(stage)
    wanted: int = getattr(run.profile, stage).batch
    return min(wanted, known) if isinstance(known, int) and known >= SMALLEST else wanted


def with_batch_backoff(run: Run, stage: str, work: Callable[[int], T]) -> T:
    """`work(batch)`; where that does not fit into the device's memory, again with half of the batch.

    Parts of the work that are finished are on disk and are not done again.

    Raises:
        RuntimeError: The smallest batch does not fit either (`is_out_of_memory`), or whatever the work raises.
    """
    while True:
        batch = current_batch(run, stage)
        try:
            return work(batch)
        except RuntimeError as error:
            if not is_out_of_memory(error) or batch // 2 < SMALLEST:
                raise
            sizes = read_json(run.directory.batches_file) or {}
            write_json(run.directory.batches_file, {**sizes, stage: batch // 2})
            run.log(f"out of memory: goes on with batches of {batch // 2} instead of {batch}", "warning", stage)
        release_cached_memory()
