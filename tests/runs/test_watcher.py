"""A run is read to its end, even if the worker closes it between two looks."""

from types import SimpleNamespace

import pytest

from emodir_tui.reports.events import print_events
from emodir_tui.runs import watcher as watching
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.event_types import RunClosed, RunOpened
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.status import Status
from tests.support.events import event

OPENED = event("run_opened", attempt=1, pid=1, host="h")
CLOSED = event("run_closed", outcome="finished")


@pytest.fixture
def closing(monkeypatch, tmp_path):
    """A run whose last event is written after the second read."""
    pieces = iter([[(b'{"seq":1}', OPENED)], [], [(b'{"seq":2}', CLOSED)]])
    reader = SimpleNamespace(poll_lines=lambda _: next(pieces, []), damaged=0)
    observer = SimpleNamespace(status=lambda state: Status(word=StatusWord(state.outcome or StatusWord.LOST)))
    monkeypatch.setattr(watching, "EventReader", lambda _: reader)
    monkeypatch.setattr(watching, "Observer", lambda _: observer)
    return RunDirectory(tmp_path)


def test_a_lost_run_is_read_once_more(closing):
    events = []
    status = watching.Watcher(closing).look(events.append)
    assert [type(item) for item in events] == [RunOpened, RunClosed]
    assert status.word == "finished"


def test_only_the_wanted_kinds_are_folded(closing):
    watcher = watching.Watcher(closing, (RunClosed,))
    watcher.look()
    assert (watcher.state.attempt, watcher.state.outcome) == (0, "finished")


@pytest.mark.parametrize("follow", [True, False])
def test_all_events_of_a_lost_run_are_printed(closing, capsys, follow):
    print_events(closing, follow=follow)
    assert capsys.readouterr().out == '{"seq":1}\n{"seq":2}\n'
