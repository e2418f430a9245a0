"""`emodir resume`: where a run resumes, and how much work is repeated."""

from emodir_tui.errors import ProfileError
from emodir_tui.formatting import duration
from emodir_tui.profile import load
from emodir_tui.reports.views import look_at
from emodir_tui.runs.checkpoint import CheckpointInfo, Checkpoints, Results
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.user_code import is_user_data, is_user_model


def resumption(directory: RunDirectory, checkpoint: str | None) -> str:
    """Where a run resumes and how much work is repeated, in one sentence."""
    state, _ = look_at(directory)
    checkpoints = Checkpoints(directory, keep=1)
    if checkpoint is not None:
        info = checkpoints.find(checkpoint)
        return f"resuming {directory.id} from {_named(info)}; later results are moved aside"
    results = Results(directory).names()
    useful = [info for info in checkpoints.infos() if set(info.results) == set(results)]
    newest = max((info.saved for info in checkpoints.infos()), default=None)
    saved = max((time for time in (newest, _newest_result(directory)) if time is not None), default=None)
    lost = (
        ""
        if saved is None or state.updated is None
        else f"; about {duration(max(0.0, state.updated - saved))} of work is repeated"
    )
    if useful:
        return f"resuming {directory.id} from {_named(useful[-1])}{lost}"
    if results:
        return f"resuming {directory.id} after the last finished part{lost}"
    return f"resuming {directory.id} from the beginning: nothing was saved yet"


def code_to_run(directory: RunDirectory) -> str:
    """The user code that a worker of this run runs, in a sentence; empty where its profile names none."""
    try:
        profile = load(directory.profile_file)
    except ProfileError:
        # The worker says what is wrong with it.
        return ""
    named = [
        *([f"model.source {profile.model.source}"] if is_user_model(profile.model.source) else []),
        *([f"data.source {profile.data.source}"] if is_user_data(profile.data.source) else []),
    ]
    folder = directory.read_run_file().get("working_directory", "the current folder")
    return f"it runs code: {', '.join(named)}, found from {folder}" if named else ""


def _named(info: CheckpointInfo) -> str:
    subject = f" {info.place.subject}" if info.place.subject else ""
    return f"{info.id} ({info.place.stage}{subject}, step {info.step})"


def _newest_result(directory: RunDirectory) -> float | None:
    try:
        return max(path.stat().st_mtime for path in directory.result_files())
    except (OSError, ValueError):
        return None
