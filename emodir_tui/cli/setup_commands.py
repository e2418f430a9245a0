"""Commands on a profile, on this machine, and TensorBoard."""

from typing import Annotated

import typer

from emodir_tui.cli.app import EPILOG, Json, RunsDir, Sets, app, find_run, load_profile, trust_user_modules
from emodir_tui.errors import ExitCode, NotFoundError


@app.command(epilog=EPILOG)
def check(
    profile: Annotated[str, typer.Argument(help="A profile's file, or the name of a shipped profile.")],
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Dry-run a profile.

    Shows the division, protected layers, reach, time and memory.
    """
    settings = load_profile(profile, sets or [])
    from emodir_tui.runs.process import let_waiting_threads_sleep

    # As in a worker, whose times are estimated.
    let_waiting_threads_sleep()
    from emodir_tui.problems.reach import require_some_rule
    from emodir_tui.reports.check import check_profile, print_check
    from emodir_tui.reports.tables import print_json
    from emodir_tui.stages.support.original_accuracy import require_expected_accuracy

    trust_user_modules()
    view = check_profile(settings)
    print_json(view) if as_json else print_check(view)
    require_some_rule(settings, view["rules_beyond_reach"])
    if view["original"] is not None:
        require_expected_accuracy(settings, view["original"]["problem"])


@app.command(epilog=EPILOG)
def doctor(as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Check this machine: torch, GPUs, disk, terminal."""
    from dataclasses import asdict

    from emodir_tui.reports.doctor import examine, print_findings
    from emodir_tui.reports.tables import print_json
    from emodir_tui.runs.directory import runs_directory

    findings = examine(runs_directory(runs_dir))
    print_json({"findings": [asdict(item) for item in findings]}) if as_json else print_findings(findings)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(ExitCode.RUN_FAILED)


@app.command(epilog=EPILOG)
def tensorboard(
    run_names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN...]", help="Runs to show; default: all.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the server.")] = 6006,
    runs_dir: RunsDir = None,
) -> None:
    """Start TensorBoard on the runs' logs.

    The address that it prints has a secret part: without it, other users of this machine see nothing.
    """
    from emodir_tui.runs.directory import list_runs, runs_directory

    directories = [find_run(name, runs_dir) for name in run_names or []] or list_runs(runs_directory(runs_dir))
    if not directories:
        raise NotFoundError(f"there are no runs in {runs_directory(runs_dir)}", "Start one: emodir run digits")
    from emodir_tui.reports.tensorboard import serve

    serve(directories, port)
