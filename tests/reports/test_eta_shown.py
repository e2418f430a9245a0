"""The expected time to the end is the same wherever it is shown."""

import time

from emodir_tui.formatting import duration
from emodir_tui.reports import follow, listing
from emodir_tui.reports.show import run_view
from emodir_tui.runs.eta import eta_seconds
from emodir_tui.runs.summary import summary_of
from emodir_tui.tui.drawing.palette import palette_of
from emodir_tui.tui.presenters.headline import headline
from emodir_tui.tui.presenters.view import View
from tests.tui.recording import RUN_ID, Still, copy_recording, live
from tests.tui.states import MIDDLE


def test_every_screen_and_command_tells_the_same_time(tmp_path, monkeypatch):
    directory, still = copy_recording(tmp_path), Still(MIDDLE, live())
    state, status = still.state, still.status
    monkeypatch.setattr(time, "time", lambda: still.now)
    monkeypatch.setattr(listing, "summarise", lambda _: (summary_of(state, status), status))
    expected = eta_seconds(state, status.word, still.now)
    assert expected is not None
    palette = palette_of(ansi=False, dark=True)
    first, _ = headline(View(run_id=RUN_ID, state=state, status=status, now=still.now, palette=palette), 200)
    assert f"ETA ~{duration(expected)} (" in first.plain
    assert f"ETA {duration(expected)} (" in follow._headline(state, status)
    assert listing.run_row(directory)["eta_seconds"] == expected
    assert run_view(directory, state, status)["eta_seconds"] == expected
