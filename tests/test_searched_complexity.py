"""Reports of a run name the complexity that it searched, and give the share of that one."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from emodir_tui import cli, worker
from emodir_tui.bench import keep_all, open_bench
from emodir_tui.formatting import percent
from emodir_tui.nets.measures.latency import LatencyModel
from emodir_tui.nets.removal import remove
from emodir_tui.problems.genes import keep_vectors_of
from emodir_tui.profile import load
from emodir_tui.reports.views import look_at
from emodir_tui.results import Adapted, Original, Parts
from emodir_tui.runs.checkpoint import Results
from emodir_tui.runs.launch import prepare
from emodir_tui.runs.reading import read_json
from emodir_tui.snapshot import unpack
from emodir_tui.tui.drawing.palette import palette_of
from emodir_tui.tui.presenters.details import describe
from emodir_tui.tui.presenters.references import Reference
from emodir_tui.tui.presenters.view import View
from tests.support.runner import TINY

OVERRIDES = (
    "search.generations=1",
    "search.rounds=1",
    "search.images=20",
    "constrain.steps=0",
    "constrain.final_steps=0",
    "rank.images=20",
    "joint.generations=1",
    "joint.polish=1",
    "joint.images=20",
    "finetune.epochs=0",
    "finetune.recalibration_images=60",
    "pick.rules=knee",
)


def ran(folder: Path, kind: str, monkeypatch):
    """A run of the tiny profile that searches this complexity."""
    (folder / "tiny.toml").write_text(TINY)
    profile = load(folder / "tiny.toml", [*OVERRIDES, f"complexity.kind={kind}"])
    directory = prepare(profile, folder / "runs", "tiny")
    # The tests keep their own.
    monkeypatch.setattr(worker, "_listen_to_signals", lambda run: None)
    worker.run_attempt(directory)
    return profile, directory


def said_by(capsys, monkeypatch, *arguments):
    """What a command prints on stdout."""
    monkeypatch.setattr(sys, "argv", ["emodir", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    return capsys.readouterr().out


def keep_vectors_of_rows(directory, bench, weights, cuts):
    """(sub-network, member) to the keep vector that prunes it alone."""
    graph, division = bench.graph(weights), bench.division(cuts)
    found = {}
    for part in division.subnetworks:
        for member in read_json(directory.fronts_folder / f"{part.name}.json")["members"]:
            mask = np.array([bit == "1" for bit in member["mask"]])
            found[part.name, member["member"]] = keep_vectors_of(graph, part.groups, mask[None])[0]
    return graph, found


def counted(graph, keep):
    """Parameters of the network whose channels are really gone."""
    return sum(weight.numel() for weight in remove(graph, keep, statistics="batch").parameters())


@pytest.mark.parametrize(("kind", "unit"), [("params", "parameters"), ("latency", "latency")])
def test_every_report_gives_the_share_of_the_searched_complexity_and_its_unit(
    tmp_path, monkeypatch, capsys, kind, unit
):
    profile, directory = ran(tmp_path, kind, monkeypatch)
    results = Results(directory)
    original = unpack(results.load("baseline").payload, Original)
    cuts = unpack(results.load("divide").payload, Parts).cuts
    weights = unpack(results.load("constrain").payload, Adapted).weights
    graph, keeps = keep_vectors_of_rows(directory, open_bench(profile), weights, cuts)
    if kind == "params":
        shares = {name: counted(graph, keep) / original.params for name, keep in keeps.items()}
    else:
        model = LatencyModel(graph, original.latencies)
        whole = float(model.measure(keep_all(graph))[0])
        shares = {name: float(model.measure(keep[None])[0]) / whole for name, keep in keeps.items()}

    capsys.readouterr()
    at = ("--runs-dir", str(directory.path.parent))
    published = read_json(directory.fronts_folder / "ranking.json")
    printed = json.loads(said_by(capsys, monkeypatch, "ranking", directory.id, "--json", *at))
    for document in (published, printed):
        assert document["complexity"] == kind
        assert {(row["subnetwork"], row["member"]): row["complexity_kept"] for row in document["rows"]} == (
            pytest.approx(shares)
        )
        assert "macs_kept" not in document["rows"][0]
    header, first, *_ = said_by(capsys, monkeypatch, "ranking", directory.id, *at).splitlines()
    assert "MACs" not in header
    assert dict(zip(header.split("\t"), first.split("\t"), strict=True))[f"{unit} kept"] == (
        percent(shares[printed["rows"][0]["subnetwork"], printed["rows"][0]["member"]])
    )

    state, status = look_at(directory)
    view = View(
        run_id=directory.id, state=state, status=status, now=state.updated, palette=palette_of(ansi=True, dark=True)
    )
    row = state.ranking[1]
    text = describe(view, Reference(kind="row", number=1)).body.plain
    assert f"{percent(shares[row.subnetwork, row.member])} of the {unit}" in text
    (pick,) = state.picks.values()
    scheme = state.joint.schemes[pick.scheme]
    text = describe(view, Reference(kind="scheme", number=pick.scheme)).body.plain
    assert f"{percent(scheme.complexity_kept)} of the {unit}" in text
    assert f"MACs, parameters    {percent(pick.macs_kept)}, {percent(pick.params_kept)} kept" in text
    if kind == "params":
        assert scheme.complexity_kept == pytest.approx(pick.params_kept)
    shown = json.loads(said_by(capsys, monkeypatch, "show", directory.id, "--json", *at))
    assert shown["complexity"] == kind
    table = said_by(capsys, monkeypatch, "show", directory.id, *at)
    assert percent(pick.params_kept) in table
    shutil.rmtree(directory.path)
