import random

import pytest

from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.events import EventReader, encode, without_old_fronts
from emodir_tui.runs.fold import replay
from tests.tui.recording import recorded_events


def state_of(directory: RunDirectory, limit: int, *, latest_fronts: bool):
    reader = EventReader(directory.events_folder, latest_fronts=latest_fronts)
    events = []
    while piece := reader.poll(limit):
        events += piece
    return replay(events)


@pytest.mark.parametrize("limit", [3_000, 20_000, 1 << 22])
def test_without_old_fronts_the_events_add_up_to_the_same_state(recorded, limit):
    assert state_of(recorded, limit, latest_fronts=True) == state_of(recorded, limit, latest_fronts=False)


@pytest.mark.parametrize("seed", range(20))
def test_so_they_do_wherever_a_worker_died_and_repeated_some(recorded, seed):
    chance = random.Random(seed)  # noqa: S311  (no secret is made of it)
    events = recorded_events()[: chance.randrange(20, 300)]
    back = chance.randrange(1, 20)
    told = events + events[-back : -back + chance.randrange(1, back + 1) or None]
    (recorded.events_folder / "0001.jsonl").write_bytes(b"".join(encode(event) for event in told))
    assert state_of(recorded, 1 << 22, latest_fronts=True) == state_of(recorded, 1 << 22, latest_fronts=False)


def test_most_of_what_there_is_to_decode_is_left_out(recorded):
    lines = [encode(event)[:-1] for event in recorded_events() if event["kind"] == "search_generation"]
    assert sum(map(len, without_old_fronts(list(lines)))) < 0.3 * sum(map(len, lines))


def test_a_line_that_is_no_generation_is_left_as_it_is():
    strange = [b'{"kind":"message","text":"x","front":[[1,2]]}', b"", b'"front":[[', b'{"kind":"search_generation"}']
    assert without_old_fronts(list(strange)) == strange
