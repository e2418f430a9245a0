"""How good the expected time to the end was, at each share of runs that have finished.

    python benchmarks/eta.py [RUN_DIRECTORY …]

Replays the events of the recorded run of the tests and of these run directories. For each share of a run's working time
(without pauses and without the time between attempts) it prints the total that was predicted then, divided by the true
one. Exits with 1 if one is off by more than a quarter from a share of 20 % on.

The recorded run is shown, not judged: an older version made its plan without measuring the machine, whose load fell to
a tenth in the middle of it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from emodir_tui.formatting import duration
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.eta import eta_seconds
from emodir_tui.runs.event_types import Event
from emodir_tui.runs.events import read_all
from emodir_tui.runs.fold import apply, replay
from emodir_tui.runs.names import Outcome, StatusWord
from emodir_tui.runs.state import RunState

SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
FROM, LARGEST = 0.2, 0.25
RECORDED = Path(__file__).parent.parent / "tests" / "data" / "recorded-run"


def main() -> int:
    """Print a row for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="directories of finished runs")
    worst = 0.0
    print(f"{'run':24} {'total':>9} " + " ".join(f"{share:>6.0%}" for share in SHARES))
    for path in [RECORDED, *parser.parse_args().runs]:
        events = list(read_all(RunDirectory(path).events_folder))
        end = replay(events)
        if end.outcome != Outcome.FINISHED:
            print(f"{path.name:24} has not finished")
            continue
        total, ratios = predictions(events)
        shown = " ".join("     —" if ratio is None else f"{ratio:>6.2f}" for ratio in ratios)
        print(f"{path.name:24} {duration(total):>9} {shown}{'' if end.plan_in_seconds else '   not judged'}")
        judged = [ratio for share, ratio in zip(SHARES, ratios, strict=True) if share >= FROM and end.plan_in_seconds]
        worst = max([worst, *map(_error, judged)])
    print(f"largest error from {FROM:.0%} on: {worst:.0%}")
    return int(worst > LARGEST)


def predictions(events: Sequence[Event]) -> tuple[float, list[float | None]]:
    """The working time of a run, and at each of `SHARES` the predicted one divided by it; None where none was shown."""
    end = replay(events)
    total = end.elapsed_seconds(end.updated or 0.0)
    state, ratios = RunState(), []
    wanted = [share * total for share in SHARES]
    for event in events:
        # The moment of a share lies between two events, as a viewer's look does.
        while wanted and state.opened is not None and state.elapsed_seconds(event.time) >= wanted[0]:
            now = event.time - (state.elapsed_seconds(event.time) - wanted[0])
            left = eta_seconds(state, StatusWord.RUNNING, now)
            ratios.append(None if left is None else (wanted[0] + left) / total)
            del wanted[0]
        apply(state, event)
    return total, ratios


def _error(ratio: float | None) -> float:
    return 1.0 if ratio is None else abs(ratio - 1)


if __name__ == "__main__":
    sys.exit(main())
