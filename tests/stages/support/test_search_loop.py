"""What a search reports while it works."""

from types import SimpleNamespace

from emodir_tui.runs.checkpoint import Place
from emodir_tui.stages.support import search_loop
from emodir_tui.stages.support.search_loop import SearchLimits, SubnetworkReport, run_search
from emodir_tui.stages.support.search_size import SearchSize
from tests.support.toys import search_of, toy_task

POPULATION, GENERATIONS = 12, 3


def reported(monkeypatch, seconds):
    """The progress events of a search that measures one mask after the other."""
    monkeypatch.setattr(search_loop, "PROGRESS_SECONDS", seconds)
    task, events, checks = toy_task(), [], []

    def objectives(masks, check):
        for _ in masks:
            check()
        return task(masks)

    run = SimpleNamespace(
        worked_seconds=0.0,
        check=lambda: checks.append(True),
        emit=events.append,
        advance=lambda place, step, snapshot, more: events.extend(more),
        resume_point=lambda place, kind: None,
    )
    nsga2 = search_of(task, population=POPULATION)
    report = SubnetworkReport(
        nsga2=nsga2,
        size=SearchSize(first=POPULATION, each=POPULATION),
        subnetwork="sn2",
        round=1,
        generations=GENERATIONS,
        index=1,
        count=2,
    )
    limits = SearchLimits(generations=GENERATIONS, patience=0, tolerance=0.0)
    run_search(run, nsga2, Place(stage="search", subject="sn2"), SimpleNamespace(objectives=objectives), limits, report)
    progress = [event for event in events if event.kind == "progress"]
    assert len(checks) >= POPULATION * GENERATIONS
    return progress


def test_a_search_reports_each_generation(monkeypatch):
    progress = reported(monkeypatch, float("inf"))
    assert [event.step for event in progress] == [3, 4, 5, 6]
    assert [event.note for event in progress] == ["sn2"] * 4
    assert [event.done for event in progress] == [0.25, 0.5, 0.75, 1.0]


def test_a_long_generation_reports_its_evaluations_too(monkeypatch):
    progress = reported(monkeypatch, 0.0)
    assert [event.note for event in progress[:3]] == ["sn2, evaluation 1", "sn2, evaluation 2", "sn2, evaluation 3"]
    shares = [event.done for event in progress]
    assert shares == sorted(shares)
    assert len(set(shares)) > POPULATION * GENERATIONS
    assert {event.part for event in progress} == {"sn2"}
