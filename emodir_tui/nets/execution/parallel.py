"""Parallel evaluation of candidates, each by one worker thread on the CPU.

One candidate is too small to keep several cores busy inside its layers; several candidates at once are not. Each is
computed by one thread from start to end, so its value does not depend on the number of workers. Where features are so
large that memory holds few candidates, there are fewer workers and each uses several cores.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

import torch

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")


def workers_for(device: torch.device, each: int = 0, memory: int = 0) -> int:
    """Number of candidates to compute at once: torch's threads on a CPU, one on an accelerator, which has a queue.

    Args:
        device: The device that computes.
        each: Working memory of one candidate in bytes; 0 sets no limit.
        memory: Working memory for all candidates in bytes; one candidate is always computed.
    """
    if device.type != "cpu":
        return 1
    threads = torch.get_num_threads()
    return threads if each * threads <= memory or not each else max(1, memory // each)


def map_parallel(
    work: Callable[[State, Item], Result],
    items: Sequence[Item],
    states: Sequence[State],
    check: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Compute `work(state, item)` for each item and return the results in order.

    Args:
        work: Called from several threads, never at the same time with the same state.
        items: The items to compute.
        states: One state per worker.
        check: Called in the caller's thread before waiting for each result; an exception from it ends the work.
    """
    if len(states) == 1:
        return [_checked(work, states[0], item, check) for item in items]
    free: SimpleQueue[State] = SimpleQueue()
    for state in states:
        free.put(state)

    def one(item: Item) -> Result:
        state = free.get()
        try:
            return work(state, item)
        finally:
            free.put(state)

    # torch's number of threads per operation is local to a thread, so the caller's does not change. A worker has one,
    # unless memory allows fewer workers than there are threads. A pool per call costs little and holds no threads when
    # the number of torch's threads changes.
    inside = max(1, torch.get_num_threads() // len(states))
    pool = ThreadPoolExecutor(len(states), initializer=partial(torch.set_num_threads, inside))
    try:
        futures = [pool.submit(one, item) for item in items]
        results = []
        for future in futures:
            check()
            results.append(future.result())
        return results
    finally:
        pool.shutdown(cancel_futures=True)


def _checked(work: Callable[[State, Item], Result], state: State, item: Item, check: Callable[[], None]) -> Result:
    check()
    return work(state, item)
