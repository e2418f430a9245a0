"""The tables of `emodir runs`, `show` and `ranking`."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from emodir_tui.formatting import (
    age,
    count,
    duration,
    layer_range,
    milliseconds,
    number,
    percent,
    points,
    printable,
    rate,
    size,
)
from emodir_tui.reports.tables import print_json, print_table
from emodir_tui.reports.views import ranking_view, run_row
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.state import RunState

if TYPE_CHECKING:
    from emodir_tui.reports.doctor import Finding
    from emodir_tui.reports.export import Check


def _age(moment: float | None) -> str:
    return age(time.time() - moment if moment else None)


def print_runs(directories: list[RunDirectory]) -> None:
    """All runs, newest first."""
    rows = []
    for row in (run_row(directory) for directory in directories):
        pick = row["best_pick"] or {}
        rows.append(
            [
                row["id"],
                row["state"],
                row["stage"] or "—",
                percent(row["progress"], 0),
                percent(pick.get("accuracy"), 2),
                percent(pick.get("macs_kept")),
                _age(row["updated"] or row["started"]),
                row["host"] or "—",
            ]
        )
    print_table(["Run", "State", "Stage", "Progress", "Accuracy", "MACs kept", "Age", "Host"], rows)


def print_result(state: RunState) -> None:
    """The original network against each pick."""
    baseline = state.baseline
    if baseline is None:
        return
    rows = [
        [
            "original",
            count(baseline.macs),
            "100.0 %",
            "100.0 %",
            percent(baseline.accuracy, 2),
            "—",
            "—",
            "—",
            # A pick's is measured with the original beside it: times of other hours can't be compared.
            "—" if state.picks else milliseconds(baseline.latency_ms),
            "—",
        ]
    ]
    for pick in state.picks.values():
        change = None if pick.accuracy is None else pick.accuracy - baseline.accuracy
        rows.append(
            [
                pick.name,
                count(None if pick.macs_kept is None else pick.macs_kept * baseline.macs),
                percent(pick.macs_kept),
                percent(pick.params_kept),
                percent(pick.accuracy, 2),
                "—" if change is None else points(change),
                percent(pick.accuracy_recalibrated, 2),
                number(pick.removal_max_difference),
                milliseconds(pick.latency_ms),
                milliseconds(pick.baseline_latency_ms),
            ]
        )
    columns = [
        "Network",
        "MACs",
        "MACs kept",
        "Params kept",
        "Accuracy",
        "Change",
        "Before tuning",
        "Removal diff.",
        "Latency",
        "Original latency",
    ]
    print_table(
        columns, rows, optional=("Removal diff.", "Original latency", "MACs", "Before tuning", "Latency", "Params kept")
    )


def print_run(state: RunState, view: dict[str, Any]) -> None:
    """A run in detail."""
    lines = [
        ["run", view["id"]],
        ["state", view["state"] + (f": {view['error'] or view['reason']}" if view["error"] or view["reason"] else "")],
        ["stage", f"{view['stage'] or '—'} ({percent(view['progress'], 0)})"],
        [
            "worker",
            f"process {view['pid'] or '—'} on {view['host'] or '—'}, {view['device'] or '—'}, attempt {view['attempt']}",
        ],
        ["directory", view["directory"]],
        ["searched", view["complexity"].unit],
        ["ranking", f"{view['ranking_size']} members"],
        ["joint front", f"{view['joint']['size']} schemes, hypervolume {number(view['joint']['hypervolume'])}"],
    ]
    print_table(["What", "Value"], lines)
    if view["subnetworks"]:
        rows = [
            [
                part["name"],
                layer_range(part["layers"]),
                str(part["channels"]),
                count(part["macs"]),
                f"{part['generation']}/{part['generations']}",
                number(part["hypervolume"]),
                str(part["front_size"]),
                str(part["evaluations"]),
                rate(part["evaluations_per_second"]),
            ]
            for part in view["subnetworks"]
        ]
        columns = ["Part", "Layers", "Channels", "MACs", "Generation", "Hypervolume", "Front", "Evaluations", "per s"]
        print_table(columns, rows)
    if view["protected"]:
        print_table(
            ["Protected", "Channels", "Reason"],
            [[item["place"], str(item["channels"]), item["reason"]] for item in view["protected"]],
        )
    print_result(state)
    if view["checkpoints"]:
        rows = [
            [
                item["id"],
                item["stage"],
                item["subnetwork"] or "—",
                str(item["generation"]),
                size(item["bytes"]),
                _age(item["saved"]),
                item["reason"],
            ]
            for item in view["checkpoints"]
        ]
        print_table(["Checkpoint", "Stage", "Subject", "Step", "Size", "Age", "Why"], rows)


def print_ranking(directory: RunDirectory, top: int) -> None:
    """The merged ranking, best first."""
    view = ranking_view(directory, top)
    rows = [
        [
            str(row["rank"]),
            str(row["level"]),
            row["subnetwork"],
            str(row["member"]),
            percent(row["complexity_kept"]),
            number(row["local_impairment"]),
            number(row["global_impairment"]),
            points(row["accuracy_change"]),
            str(row["joint_uses"]),
        ]
        for row in view["rows"]
    ]
    unit = view["complexity"].unit
    kept = f"{unit[0].upper()}{unit[1:]} kept"
    columns = ["Rank", "Level", "Part", "Member", kept, "Local", "Global", "Change", "Joint uses"]
    print_table(columns, rows)


def print_logs(directory: RunDirectory, count: int, *, worker: bool) -> None:
    """The run's log (or what the worker printed), its last lines."""
    from emodir_tui.runs.events import read_all
    from emodir_tui.runs.launch import last_lines
    from emodir_tui.runs.narration import EventFormatter

    if worker:
        for line in last_lines(directory.worker_log, count).splitlines():
            print(printable(line.removeprefix("    ")))  # noqa: T201
        return
    teller = EventFormatter(clock="%Y-%m-%d %H:%M:%S", ends=True)
    lines = (teller.line(event) for event in read_all(directory.events_folder))
    for line in deque(filter(None, lines), maxlen=count):
        print(line)  # noqa: T201


def print_verification(facts: dict[str, Any], checks: Sequence["Check"], *, as_json: bool) -> None:
    """What a file says against what was measured."""
    if as_json:
        found = {check.agrees for check in checks}
        agrees = False if False in found else None if None in found else True
        print_json({**facts, "checks": [asdict(check) for check in checks], "agrees": agrees})
        return
    details = facts["details"]
    lines = [
        ["model", f"{facts['source']}, {facts['classes']} classes, input {facts['input_shape']}"],
        ["from", f"run {details.get('run')}, pick {details.get('pick')} ({details.get('rule')})"],
        [
            "kept",
            f"{percent(details.get('macs_kept'))} of the MACs, {percent(details.get('params_kept'))} of the parameters",
        ],
        ["input", f"pixels of 0 to 1, less {details.get('mean', '—')}, then divided by {details.get('std', '—')}"],
        ["latency", f"{milliseconds(facts['latency_ms'])} for 32 images here"],
    ]
    print_table(["What", "Value"], lines)
    words = {True: "yes", False: "NO", None: "—"}
    rows = [[check.what, check.says, check.measured, words[check.agrees]] for check in checks]
    print_table(["Claim", "File says", "Measured", "Agrees"], rows)


def print_check(view: dict[str, Any]) -> None:
    """What `emodir check` found."""
    images, classes = view["images"], f"{view['classes']} classes"
    if view["classes_seen"] < view["classes"]:
        classes += f", of which {view['classes_seen']} have training images"
    lines = [
        ["model", f"{view['model']} on {view['device']}, {count(view['macs'])} MACs"],
        ["images", f"{images['train']} to train, {images['search']} to search, {images['test']} to test"],
        ["input", f"{'×'.join(str(size) for size in view['input_shape'])}, {classes}"],
        ["pixels", f"of 0 to 1, less {view['mean']}, then divided by {view['std']}"],
        [
            "reach",
            f"down to {percent(view['least_macs_kept'])} of the MACs, {percent(view['least_params_kept'])} of the parameters",
        ],
        *(["out of reach", f"{rule}: {reason}"] for rule, reason in view["rules_beyond_reach"].items()),
        ["memory", f"about {size(1e6 * view['memory_megabytes'])} of cached features"],
        [
            "time",
            f"about {duration(sum(view['estimated_seconds'].values()))}: "
            + ", ".join(f"{name} {duration(seconds)}" for name, seconds in view["estimated_seconds"].items()),
        ],
    ]
    print_table(["What", "Value"], lines)
    rows = [
        [
            part["name"],
            layer_range(part["layers"]),
            str(part["groups"]),
            str(part["channels"]),
            count(part["macs"]),
            percent(part["share"]),
        ]
        for part in view["subnetworks"]
    ]
    print_table(["Part", "Layers", "Groups", "Channels", "MACs", "Share"], rows)
    if view["streams"]:
        fate = "pruned by the joint step" if view["streams_pruned"] else "left whole; divide.streams = true prunes them"
        print_table(
            ["Stream", "Channels", "Fate"], [[item["name"], str(item["channels"]), fate] for item in view["streams"]]
        )
    if view["protected"]:
        rows = [[item["place"], str(item["channels"]), item["reason"]] for item in view["protected"]]
        print_table(["Protected", "Channels", "Reason"], rows)


def print_comparison(rows: list[dict[str, Any]]) -> None:
    """Runs side by side."""
    cells = [
        [
            row["run"],
            row["state"],
            row["pick"] or "—",
            percent(row["macs_kept"]),
            percent(row["params_kept"]),
            percent(row["accuracy"], 2),
            "—" if row["accuracy_change"] is None else points(row["accuracy_change"]),
            number(row["joint_hypervolume"]),
            str(row["evaluations"]),
            duration(row["seconds"]),
        ]
        for row in rows
    ]
    columns = [
        "Run",
        "State",
        "Pick",
        "MACs kept",
        "Params kept",
        "Accuracy",
        "Change",
        "Joint HV",
        "Evaluations",
        "Time",
    ]
    print_table(columns, cells, optional=("Evaluations", "Joint HV", "Params kept", "Time"))


def print_findings(findings: Sequence["Finding"], *, as_json: bool) -> None:
    """What the doctor found."""
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
        return
    marks = {"ok": "✓", "warning": "!", "error": "✗"}
    rows = [[marks[finding.level], finding.what, finding.found, finding.advice] for finding in findings]
    print_table(["", "What", "Found", "Advice"], rows)
