"""The worker: opens a run, does the method's steps in order, closes it. `prune` is the main path."""

import argparse
import faulthandler
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from emodir_tui import profile as profiles
from emodir_tui.errors import EmodirError, ExitCode
from emodir_tui.formatting import plural
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.event_types import Event, PlanMade, StageFinished
from emodir_tui.runs.names import StageName
from emodir_tui.runs.narration import EventFormatter
from emodir_tui.runs.picks import extra_picks
from emodir_tui.runs.process import has_nvidia_driver, let_waiting_threads_sleep
from emodir_tui.runs.request_desk import Stopped
from emodir_tui.runs.run import Run

if TYPE_CHECKING:
    from emodir_tui.bench import Bench


def prune(run: Run, bench: "Bench") -> None:
    """Run the steps of EMO-DIR. Resuming runs the same steps and skips those with a saved result."""
    from emodir_tui.stages.baseline import baseline
    from emodir_tui.stages.constrain import constrain
    from emodir_tui.stages.divide import divide
    from emodir_tui.stages.finetune import finetune
    from emodir_tui.stages.joint import joint
    from emodir_tui.stages.rank import rank
    from emodir_tui.stages.realise import realise
    from emodir_tui.stages.search import search

    original = run.once(baseline, bench)
    parts = run.once(divide, bench)
    fronts = run.once(search, bench, original, parts)
    adapted = run.once(constrain, bench, original, parts, fronts)
    ranking = run.once(rank, bench, original, parts, adapted)
    joint_front = run.once(joint, bench, original, parts, adapted, ranking)
    pruned = run.once(realise, bench, original, adapted, joint_front)
    run.once(finetune, bench, original, pruned)


def run_attempt(directory: RunDirectory, checkpoint: str | None = None, *, log: bool = False) -> ExitCode:
    """Run one attempt to its end, finished or stopped.

    Args:
        directory: The run.
        checkpoint: Go back to this checkpoint first.
        log: Print what happens on stderr.

    Raises:
        EmodirError: It failed, with the reason.
    """
    directory.require_no_links()
    try:
        settings = profiles.load(directory.profile_file)
        with Run(directory, settings, _Snapshots(), rewind_to=checkpoint) as run:
            _listen_to_signals(run)
            if log:
                run.listeners.append(_print_line)
            _execute(run)
    except Stopped:
        return ExitCode.STOPPED
    return ExitCode.OK


def run_process(directory: RunDirectory, checkpoint: str | None = None) -> ExitCode:
    """Run one attempt as a process: print an error and return its exit code."""
    try:
        return run_attempt(directory, checkpoint)
    except EmodirError as error:
        print(f"error: {error.message}" + (f"\n  hint: {error.hint}" if error.hint else ""), file=sys.stderr)  # noqa: T201
        return error.exit_code
    except Exception:
        # Standard error is the worker's log.
        traceback.print_exc()
        return ExitCode.RUN_FAILED


def _print_line(event: Event) -> None:
    """Print an event on stderr if it has a line in the log."""
    if line := EventFormatter().line(event):
        # The reader of stderr may have gone; the run continues.
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)  # noqa: T201


class _Snapshots:
    """The codec; torch, which it needs, is loaded only after the heartbeat has begun."""

    def pack(self, value: Any) -> bytes:
        from emodir_tui.snapshot import pack

        return pack(value)

    def unpack(self, payload: bytes, kind: Any) -> Any:
        from emodir_tui.snapshot import unpack

        return unpack(payload, kind)


def _execute(run: Run) -> None:
    _enter_working_directory(run)
    let_waiting_threads_sleep()
    from emodir_tui.bench import choose_device, configure_torch, open_bench
    from emodir_tui.problems.reach import reach, require_some_rule, unreachable_rules
    from emodir_tui.results import Decision
    from emodir_tui.stages.costs import expected_seconds
    from emodir_tui.stages.support.rates import measure_rates
    from emodir_tui.tensorboard import Scalars
    from emodir_tui.training.memory import release_cached_memory

    scalars = Scalars(run.directory.tensorboard_folder)
    run.listeners.append(scalars)
    try:
        configure_torch(run.profile, choose_device(run.profile.device))
        bench = open_bench(
            run.profile,
            decide=lambda name, measure: run.part(name, Decision, lambda: Decision(value=measure())).value,
            log=run.log,
        )
        graph, division = bench.try_division()
        out_of_reach = unreachable_rules(run.profile, reach(run.profile, graph, division))
        parts = len(division.subnetworks)
        if not extra_picks(run.directory):
            require_some_rule(run.profile, out_of_reach)
        # A finished stage's features and recorded passes make room for the next one's.
        run.listeners.append(lambda event: release_cached_memory() if isinstance(event, StageFinished) else None)
        run.open(str(bench.device))
        _compute_as_before(run, bench)
        costs = expected_seconds(bench, graph, division, measure_rates(bench, graph))
        run.emit(PlanMade(costs=costs, complexity=bench.complexity_kind, seconds=True))
        if run.profile.device == "auto" and bench.device.type == "cpu" and has_nvidia_driver():
            run.log("torch cannot use the GPU of this machine, so the run is on the CPU; see emodir doctor", "warning")
        if run.profile.hardware.mixed_precision and not bench.mixed_precision:
            run.log("hardware.mixed_precision: this device has no native bfloat16; trainings run in full precision")
        if run.attempt == 1:
            _warn(run, bench, parts, out_of_reach)
        _make_room_for_new_picks(run)
        _prune_for_all_picks(run, bench)
    finally:
        scalars.close()


def _compute_as_before(run: Run, bench: "Bench") -> None:
    """Compute with as many threads as the run began with: their number decides how sums are rounded."""
    import torch

    if bench.device.type != "cpu" or run.profile.hardware.threads:
        return
    threads = int(bench.decide("threads", lambda: str(torch.get_num_threads())))
    if threads != torch.get_num_threads():
        began = plural(threads, "thread")
        run.log(f"continues with {began}, as it began, instead of {torch.get_num_threads()}")
        torch.set_num_threads(threads)


def _warn(run: Run, bench: "Bench", parts: int, out_of_reach: dict[str, str]) -> None:
    """Warn of settings that work but are probably not intended."""
    if run.profile.divide.subnetworks > parts:
        asked = run.profile.divide.subnetworks
        run.log(f"divide.subnetworks is {asked}, but this network's cut points make {parts}", "warning")
    if bench.data.classes_seen < bench.data.classes:
        seen = f"only {bench.data.classes_seen} of {bench.data.classes} classes have training images"
        run.log(f"{seen}; are labels numbered from 0 on?", "warning")
    for rule, reason in out_of_reach.items():
        run.log(f"pick rule '{rule}' cannot be satisfied: {reason} whatever is pruned", "warning")


def _enter_working_directory(run: Run) -> None:
    """Go to where the run was started: relative paths and the user's own modules are found from there."""
    home = run.directory.read_run_file().get("working_directory")
    if isinstance(home, str) and Path(home).is_dir():
        os.chdir(home)
        # Behind the libraries: a file named like one of them must not take its place.
        sys.path.append(home)


def _prune_for_all_picks(run: Run, bench: "Bench") -> None:
    """Do the whole method, and its last two stages again for schemes that were requested in the meantime."""
    while True:
        asked = extra_picks(run.directory)
        prune(run, bench)
        # Take the requests that came since the last safe point.
        run.check()
        if set(extra_picks(run.directory)) <= set(asked):
            return
        run.forget(StageName.REALISE, StageName.FINETUNE)


def _make_room_for_new_picks(run: Run) -> None:
    """Do the last two stages of a finished run again if another pick was requested; finished picks stay."""
    if run.new_picks:
        run.forget(StageName.REALISE, StageName.FINETUNE)


def _listen_to_signals(run: Run) -> None:
    """TERM and INT save and stop, a second one at once; USR1 saves; HUP is ignored; QUIT dumps the stacks."""

    def stop(number: int, _: FrameType | None) -> None:
        if run.stopping:
            # Files are renamed into place whole, so this loses no more than what was not saved yet.
            os._exit(ExitCode.INTERRUPTED)
        run.request_stop(signal.Signals(number).name)

    def save(number: int, _: FrameType | None) -> None:
        run.request_save(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGUSR1, save)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    faulthandler.register(signal.SIGQUIT, all_threads=True)


def main() -> None:
    """Entry point of the worker process."""
    parser = argparse.ArgumentParser(prog="python -m emodir_tui.worker")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--from", dest="checkpoint")
    arguments = parser.parse_args()
    sys.exit(run_process(RunDirectory(arguments.directory.resolve()), arguments.checkpoint))


if __name__ == "__main__":
    main()
