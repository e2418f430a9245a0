"""Lanes: candidates side by side, each on one thread of the CPU.

One candidate is too small to feed several cores from inside its layers; several candidates at once feed them all. Each
is computed by one thread from beginning to end, so its value does not depend on how many lanes there are. Where features
are so large that memory holds few candidates, layers feed several cores, and the lanes are fewer.
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
    """How many candidates at once: torch's threads on a CPU; one on an accelerator, which is fed by a queue.

    Args:
        device: Where they are computed.
        each: Bytes that one candidate needs while it is computed.
        memory: Bytes for all of them together; one candidate always gets what it needs.
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
    """`work(state, item)` for each item, in their order; each lane has a state of its own.

    Args:
        work: Runs in several threads at once, never twice at once with the same state.
        items: What is worked on.
        states: One per lane.
        check: Is called in the caller's thread before each result is waited for; what it raises ends the work.
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

    # The number of threads inside an operation is each thread's own, so the caller's does not change. It is one, unless
    # memory holds fewer lanes than there are threads.
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
