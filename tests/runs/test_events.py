import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emodir_tui.runs.event_types import Message, StageFinished
from emodir_tui.runs.events import EventReader, EventWriter, ascii_line, decode, encode, read_all
from emodir_tui.runs.fold import apply, replay
from emodir_tui.runs.names import StageName
from emodir_tui.runs.narration import EventFormatter, format_event
from emodir_tui.runs.state import RunState
from tests.support.events import event as event_of
from tests.support.events import line as line_with


def message(text):
    return Message(level="info", text=text)


def written(folder, *texts, attempt=1):
    writer = EventWriter(folder, attempt)
    for text in texts:
        writer.emit(message(text))
    writer.close()
    return writer.path


def texts_of(events):
    return [event.text for event in events]


def test_events_come_back_in_the_order_in_which_they_were_written(tmp_path):
    written(tmp_path / "events", "one", "two", attempt=1)
    written(tmp_path / "events", "three", attempt=2)
    assert texts_of(read_all(tmp_path / "events")) == ["one", "two", "three"]


def test_a_line_without_its_end_is_held_back_until_it_has_one(tmp_path):
    path = written(tmp_path / "events", "one")
    line = line_with({"kind": "message", "level": "info", "text": "two"}) + b"\n"
    reader = EventReader(tmp_path / "events")
    with path.open("ab") as file:
        file.write(line[:10])
        file.flush()
        assert texts_of(reader.poll()) == ["one"]
        file.write(line[10:])
    assert texts_of(reader.poll()) == ["two"]
    assert reader.damaged == 0


def test_a_line_torn_in_the_middle_is_counted_and_costs_no_other_event(tmp_path):
    path = written(tmp_path / "events", "one", "two", "three")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:15] + b"\n" + lines[2])
    reader = EventReader(tmp_path / "events")
    assert texts_of(reader.poll()) == ["one", "three"]
    assert reader.damaged == 1


@pytest.mark.parametrize("hole", [b"x", b"\n", b"\0"])
def test_what_follows_megabytes_without_an_event_is_read(tmp_path, hole):
    path = written(tmp_path / "events", "one")
    with path.open("ab") as file:
        file.write(hole * (9 << 20) + b"\n")
    written(tmp_path / "events", "two", attempt=2)
    assert texts_of(read_all(tmp_path / "events")) == ["one", "two"]


def test_a_writer_that_finds_half_a_line_starts_on_a_new_one(tmp_path):
    path = written(tmp_path / "events", "one")
    with path.open("ab") as file:
        file.write(b'{"v":1,"se')
    writer = EventWriter(tmp_path / "events", 1)
    writer.emit(message("two"))
    writer.close()
    assert texts_of(read_all(tmp_path / "events")) == ["one", "two"]


def test_an_unfinished_line_of_an_older_segment_is_given_up(tmp_path):
    path = written(tmp_path / "events", "one")
    with path.open("ab") as file:
        file.write(b'{"torn')
    written(tmp_path / "events", "two", attempt=2)
    reader = EventReader(tmp_path / "events")
    assert texts_of(reader.poll()) == ["one", "two"]
    assert reader.damaged == 1


def test_on_a_full_disk_events_wait_and_are_written_when_there_is_space_again(tmp_path):
    writer = EventWriter(tmp_path / "events", 1)
    writer.emit(message("before"))
    assert writer.dropped == 0
    disk, full = os.dup(writer._descriptor), os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._descriptor)
    writer.emit(message("during"))
    assert writer.dropped == 1
    os.dup2(disk, writer._descriptor)
    writer.emit(message("after"))
    assert writer.dropped == 0
    writer.close()
    os.close(disk)
    os.close(full)
    assert texts_of(read_all(tmp_path / "events")) == ["before", "during", "after"]


def test_infinities_are_written_as_null():
    for value in (float("inf"), float("nan")):
        assert json.loads(encode(StageFinished(stage=StageName.RANK, seconds=value)))["seconds"] is None


def test_zero_blocks_that_nfs_leaves_are_skipped(tmp_path):
    path = written(tmp_path / "events", "one")
    with path.open("ab") as file:
        file.write(b"\0" * 512 + line_with({"kind": "message", "level": "info", "text": "two"}) + b"\n")
    assert texts_of(read_all(tmp_path / "events")) == ["one", "two"]


VALUES = [
    {"kind": "run_opened", "attempt": 1, "pid": 7, "host": "h", "device": "cpu"},
    {"kind": "plan_made", "costs": {"search": 10.0, "joint": 5.0}, "complexity": "macs"},
    {"kind": "stage_started", "stage": "search"},
    {
        "kind": "network_divided",
        "subnetworks": [
            {
                "name": "sn1",
                "layers": ["a"],
                "groups": [{"name": "g", "channels": 4, "kind": "inner"}],
                "channels": 4,
                "macs": 9,
                "share": 1.0,
            }
        ],
        "protected": [],
    },
    {
        "kind": "search_generation",
        "subnetwork": "sn1",
        "round": 1,
        "generation": 1,
        "generations": 9,
        "hypervolume": 0.5,
        "front_size": 1,
        "evaluations": 8,
        "evaluations_per_second": 2.0,
        "front": [[0.5, 0.1]],
    },
    {
        "kind": "search_generation",
        "subnetwork": "sn1",
        "round": 1,
        "generation": 2,
        "generations": 9,
        "hypervolume": 0.6,
        "front_size": 1,
        "evaluations": 9,
        "evaluations_per_second": 2.0,
    },
    {
        "kind": "front_finished",
        "subnetwork": "sn1",
        "members": [{"member": 0, "complexity_kept": 0.5, "impairment": 0.1, "kept": [2]}],
    },
    {
        "kind": "ranking_rows",
        "rows": [
            {
                "rank": 1,
                "level": 0,
                "subnetwork": "sn1",
                "member": 0,
                "complexity_kept": 0.5,
                "local_impairment": 0.1,
                "global_impairment": 0.2,
                "accuracy_change": -0.1,
                "kl": 0.3,
            }
        ],
    },
    {
        "kind": "joint_finished",
        "schemes": [{"scheme": 0, "complexity_kept": 0.5, "impairment": 0.2, "members": [0], "accuracy": 0.9}],
    },
    {"kind": "picks_chosen", "picks": [{"name": "knee", "scheme": 0, "rule": "knee", "complexity_kept": 0.5}]},
    {
        "kind": "checkpoint_saved",
        "id": "ck-0001",
        "stage": "search",
        "subnetwork": "sn1",
        "step": 1,
        "bytes": 10,
        "reason": "auto",
        "removed": [],
    },
    {"kind": "control_done", "id": "x", "command": "save", "by": "me", "message": ""},
    {"kind": "message", "level": "info", "text": "hello"},
    {"kind": "run_closed", "outcome": "finished", "error": "", "hint": ""},
]
for number, values in enumerate(VALUES):
    values.update(seq=number + 1, time=100.0 + number)
EVENTS = [decode(line_with(values)) for values in VALUES]


def test_the_same_events_twice_give_the_same_state_as_once():
    once, twice = replay(EVENTS), replay([*EVENTS[:8], *EVENTS[:8], *EVENTS[8:]])
    assert once.subnetworks == twice.subnetworks
    assert once.ranking == twice.ranking
    assert once.joint == twice.joint
    assert once.damaged == twice.damaged == 0


def test_the_fold_knows_which_ranking_rows_the_joint_schemes_use():
    assert replay(EVENTS).ranking[1].joint_uses == 1


def test_kinds_that_a_newer_version_writes_are_passed_over():
    state = replay([event_of("from_the_future", v=2, data=[1])])
    assert state.damaged == 0
    assert state.events == 1


@pytest.mark.parametrize(
    ("kind", "data", "level", "sentence"),
    [
        ("stage_started", {"stage": "search"}, "info", "search started"),
        ("stage_finished", {"stage": "search", "seconds": 12.4}, "info", "search finished after 0:00:12"),
        ("stage_started", {"stage": ["search"]}, None, ""),
        ("stage_started", {}, None, ""),
        ("from_the_future", {"stage": "search"}, None, ""),
        ("message", {"level": "info", "text": "a\nb\x1b[31m"}, "info", "a␊b␛[31m"),
        ("message", {"level": "debug", "text": "small"}, "detail", "small"),
        ("checkpoint_damaged", {"id": "ck-0001", "text": "ck-0001 is damaged"}, "warning", "ck-0001 is damaged"),
        ("run_closed", {"outcome": "failed", "error": "no memory"}, "error", "the run has failed: no memory"),
        ("run_closed", {"outcome": "stopped"}, "info", "the run has stopped"),
        (
            "control_refused",
            {"id": "1", "command": "save", "by": "me", "message": "no"},
            "warning",
            "save refused (me): no",
        ),
        (
            "pick_finished",
            {"pick": "knee", "accuracy": 0.9889, "file": "f"},
            "info",
            "pick knee finished: accuracy 98.89 %",
        ),
        ("progress", {"stage": "search", "step": 1, "steps": 2}, None, ""),
    ],
)
def test_an_event_has_one_sentence_and_a_damaged_one_has_none(kind, data, level, sentence):
    assert format_event(event_of(kind, **data)) == ((level, sentence) if level else None)


def test_lines_have_no_details_and_the_end_only_where_it_is_wanted():
    closed = event_of("run_closed", outcome="stopped")
    assert EventFormatter().line(closed) == ""
    assert EventFormatter(outcomes=True).line(closed).endswith("  the run has stopped")
    assert EventFormatter().line(event_of("checkpoint_damaged", id="ck-0001", text="bad")).endswith("  warning: bad")
    assert EventFormatter().line(event_of("message", level="debug", text="small")) == ""
    saved = event_of("checkpoint_saved", id="ck-0001", stage="search", step=1, bytes=1000, reason="auto")
    assert format_event(saved) == ("detail", "checkpoint ck-0001 saved (1.00 kB, auto)")
    assert EventFormatter().line(saved) == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(index=st.integers(0, len(EVENTS) - 1), key=st.text(max_size=12), value=json_values, data=st.data())
def test_no_event_however_wrong_raises_or_ends_the_fold(index, key, value, data):
    state = replay(EVENTS[:8])
    values = dict(VALUES[index])
    name = data.draw(st.sampled_from([*values, key]))
    event = decode(line_with({**values, name: value}))
    if event is not None:
        apply(state, event)
        assert isinstance(EventFormatter(outcomes=True).line(event), str)
    before = state.events
    apply(state, EVENTS[12])
    assert state.events == before + 1


@settings(max_examples=200)
@given(noise=st.binary(max_size=400), place=st.integers(0, 1000))
def test_a_damaged_log_never_raises_and_keeps_the_whole_lines_before_the_damage(tmp_path_factory, noise, place):
    folder = tmp_path_factory.mktemp("fuzz") / "events"
    path = written(folder, "one", "two", "three")
    content = path.read_bytes()
    place %= len(content)
    path.write_bytes(content[:place] + noise)
    events = list(read_all(folder))
    whole = content[:place].count(b"\n")
    assert [event.seq for event in events][:whole] == [1, 2, 3][:whole]
    assert isinstance(replay(events), RunState)


def test_a_later_attempt_keeps_the_time_that_the_earlier_one_took():
    events = [
        event_of("run_opened", seq=1, time=100.0, attempt=1, pid=1, host="h"),
        event_of("message", seq=2, time=160.0, level="info", text="x"),
        event_of("run_opened", seq=1, time=900.0, attempt=2, pid=2, host="h"),
    ]
    assert replay(events).elapsed_seconds(910.0) == pytest.approx(70.0)


def test_an_event_whose_newline_alone_was_not_written_comes_once(tmp_path, monkeypatch):
    writer = EventWriter(tmp_path, 1)
    write, short = os.write, []

    def all_but_one(descriptor, payload):
        if not short:
            short.append(payload)
            return write(descriptor, payload[:-1])
        return write(descriptor, payload)

    monkeypatch.setattr(os, "write", all_but_one)
    writer.emit(message("once"))
    writer.close()
    assert texts_of(read_all(tmp_path)) == ["once"]


@pytest.mark.parametrize("time", [10**400, 1e300, -1, float("nan")])
def test_an_event_at_no_time_is_none(time):
    assert decode(b'{"kind":"message","seq":1,"time":%s,"level":"info","text":"x"}' % str(time).encode()) is None


@pytest.mark.parametrize("step", [10**400, -(2**60)])
def test_numbers_that_nothing_can_reckon_with_are_damage(step):
    state = replay([event_of("progress", stage="search", step=step, steps=10)])
    assert state.damaged == 1
    assert state.progress == 0


@pytest.mark.parametrize(
    "event",
    [
        b'{"kind":"message","seq":1,"time":1,"level":"info","text":"x","more":%s}' % (b"[" * 10**5 + b"]" * 10**5),
        b'{"kind":"message","seq":1,"time":1,"level":"info","text":"\xff"}',
        b'{"kind":"message","seq":1,"time":1,"level":"info","text":"x"} {}',
        b'{"kind":"message","seq":1,"level":"info","text":"x"}',
        b'{"kind":"message","time":1,"level":"info","text":"x"}',
        b'{"kind":["message"],"seq":1,"time":1}',
        b"[]",
    ],
)
def test_lines_that_are_no_events_are_none(event):
    assert decode(event) is None


def test_the_order_of_a_lines_values_does_not_matter():
    line = b'{"text":"x","stage":null,"time":2,"level":"info","seq":7,"kind":"message","of a newer version":[1]}'
    assert decode(line) == Message(seq=7, time=2.0, level="info", text="x")


def test_every_kind_comes_back_as_it_was_written(tmp_path):
    writer = EventWriter(tmp_path, 1)
    reported = [writer.emit(event) for event in EVENTS]
    writer.close()
    assert list(read_all(tmp_path)) == reported
    assert [type(event) for event in reported] == [type(event) for event in EVENTS]


def test_numbers_of_arrays_and_text_that_is_not_valid_are_written(tmp_path):
    numpy = pytest.importorskip("numpy")
    writer = EventWriter(tmp_path, 1)
    writer.emit(StageFinished(stage=StageName.RANK, seconds=numpy.float32(0.5)))
    writer.emit(message("file \udcff"))
    writer.close()
    seconds, text = read_all(tmp_path)
    assert seconds.seconds == 0.5
    assert text.text == "file \\udcff"


def test_a_line_for_a_terminal_holds_nothing_that_acts_on_it():
    assert ascii_line('{"text":"\x9b31m \u202e"}'.encode()) == r'{"text":"\u009b31m \u202e"}'
    assert ascii_line(b'{"text":"\x1b[31m"}') is None
