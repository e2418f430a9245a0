"""Commands that only read runs."""

from typing import Annotated

import typer

from emodir_tui.cli.app import EPILOG, Json, RunArgument, RunsDir, app, find_run
from emodir_tui.reports.lines import note


@app.command(epilog=EPILOG)
def runs(as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """List all runs, newest first."""
    from emodir_tui.reports.listing import print_runs, run_row
    from emodir_tui.reports.tables import print_json
    from emodir_tui.runs.directory import list_runs, runs_directory

    rows = [run_row(directory) for directory in list_runs(runs_directory(runs_dir))]
    if as_json:
        print_json({"runs": rows})
    elif rows:
        print_runs(rows)
    else:
        note(f"there are no runs in {runs_directory(runs_dir)}; start one: emodir run digits")


@app.command(epilog=EPILOG)
def show(run_name: RunArgument = "@latest", as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Show a run: state, sub-networks, picks, checkpoints."""
    from emodir_tui.reports.show import print_run, run_view
    from emodir_tui.reports.tables import print_json
    from emodir_tui.reports.views import look_at

    directory = find_run(run_name, runs_dir)
    state, status = look_at(directory)
    view = run_view(directory, state, status)
    print_json(view) if as_json else print_run(state, view)


@app.command(epilog=EPILOG)
def ranking(
    run_name: RunArgument = "@latest",
    top: Annotated[int, typer.Option("--top", min=0, help="Number of rows; 0: all.")] = 0,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Show the impairment ranking (GPIR) of a run."""
    from emodir_tui.reports.ranking import print_ranking, ranking_view
    from emodir_tui.reports.tables import print_json

    view = ranking_view(find_run(run_name, runs_dir), top)
    print_json(view) if as_json else print_ranking(view)


@app.command(epilog=EPILOG)
def compare(
    run_names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, unique prefixes of them, or @latest.")],
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Compare runs, one line for each pick."""
    from emodir_tui.reports.compare import comparison, print_comparison
    from emodir_tui.reports.tables import print_json

    rows = comparison([find_run(name, runs_dir) for name in run_names])
    print_json({"rows": rows}) if as_json else print_comparison(rows)


@app.command(epilog=EPILOG)
def logs(
    run_name: RunArgument = "@latest",
    count: Annotated[int, typer.Option("-n", "--lines", min=1, help="Number of lines.")] = 50,
    worker: Annotated[bool, typer.Option("--worker", help="Print the worker's output instead.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Print the last lines of a run's log."""
    from emodir_tui.reports.logs import print_logs

    print_logs(find_run(run_name, runs_dir), count, worker=worker)


@app.command(epilog=EPILOG)
def events(
    run_name: RunArgument = "@latest",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for new events until the run ends.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Print a run's events, one JSON object a line."""
    from emodir_tui.reports.events import print_events

    print_events(find_run(run_name, runs_dir), follow=follow)
