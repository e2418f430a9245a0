"""The best pick is the same in the header, in `emodir runs` and in the list of runs, whichever rule found it."""

import pytest

from emodir_tui.reports.listing import run_row
from emodir_tui.runs.events import encode
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.status import Status
from emodir_tui.runs.summary import summary_of
from emodir_tui.tui.drawing.palette import palette_of
from emodir_tui.tui.presenters.headline import headline
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.sources.summaries import _summarise
from tests.support.events import event
from tests.tui.recording import RUN_ID, Still, recorded_events

RULE = "max_macs=0.4"


def picks(second):
    """The recorded run and a further pick, which a later rule found; the first has 98.89 % at 38.9 %."""
    last = recorded_events()[-1]
    later = {"seq": 9999, "time": last.time}
    return [
        *recorded_events(),
        event("picks_chosen", **later, picks=[{"name": "second", "scheme": 1, "rule": RULE, "complexity_kept": 0.3}]),
        event("pick_realised", **later, pick="second", macs_kept=0.3, params_kept=0.3),
        event("pick_finished", **later, pick="second", accuracy=second, file="export/second.safetensors"),
    ]


@pytest.mark.parametrize(("second", "best"), [(0.995, "second"), (0.9, "knee"), (0.9888579387186629, "second")])
def test_the_best_pick_is_shown_everywhere(recorded, second, best):
    events = picks(second)
    (recorded.events_folder / "0001.jsonl").write_bytes(b"".join(map(encode, events)))
    still = Still(events, Status(word=StatusWord.FINISHED))
    view = View(
        run_id=RUN_ID,
        state=still.state,
        status=still.status,
        now=still.now,
        palette=palette_of(ansi=False, dark=True),
    )
    first, next_step = headline(view, 200)
    assert f" {best}: accuracy" in first.plain
    assert f"--pick {best}" in next_step.plain
    assert run_row(recorded)["best_pick"]["name"] == best
    summary = _summarise(recorded, summary_of(still.state, still.status), still.status)
    shown = still.state.picks[best]
    assert (summary.accuracy, summary.macs_kept) == (shown.accuracy, shown.macs_kept)
