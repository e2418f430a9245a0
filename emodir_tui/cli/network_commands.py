"""Commands on pruned networks."""

from pathlib import Path
from typing import Annotated

import typer

from emodir_tui.cli.app import EPILOG, Json, RunArgument, RunsDir, app, find_run, profile_file, trust_user_modules
from emodir_tui.errors import ExitCode
from emodir_tui.reports.lines import answer, note


@app.command(epilog=EPILOG)
def export(
    run_name: RunArgument = "@latest",
    pick: Annotated[
        str,
        typer.Option("--pick", help="A pick's name or rule; or macs=SHARE, the most accurate pick within that share."),
    ] = "knee",
    kind: Annotated[str, typer.Option("--format", help="state, torch-export or onnx.")] = "onnx",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Target file or folder; default: next to the pruned file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Profile whose code may be run to build the network.")
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Write a pruned network in a standard format.

    The exported network is compared with the original file before it is written.
    """
    from emodir_tui.formatting import number
    from emodir_tui.reports.export import export_pick

    trusted = _trusted(profile)
    path, difference = export_pick(find_run(run_name, runs_dir), pick, kind, output, trusted, force=force)
    note(f"largest difference to the network's outputs: {number(difference)}")
    answer(str(path))


@app.command(epilog=EPILOG)
def verify(
    file: Annotated[Path, typer.Argument(help="A pruned network's file.")],
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="Profile with the test images, whose code may be run; default: the run's."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Re-measure a pruned file, compare with its metadata."""
    from emodir_tui.reports.tables import print_json
    from emodir_tui.reports.verify import print_verification
    from emodir_tui.reports.verify import verify as verify_file

    view = verify_file(file, _trusted(profile))
    print_json(view) if as_json else print_verification(view)
    if view["agrees"] is False:
        raise typer.Exit(ExitCode.RUN_FAILED)


def _trusted(profile: str | None) -> Path | None:
    """The file of the profile that the user names, and whose code may be run therefore."""
    if profile is None:
        return None
    trust_user_modules()
    return profile_file(profile)
