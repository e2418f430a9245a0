"""`emodir show`: one run in detail."""

import time
from typing import Any

from emodir_tui.formatting import age, count, duration, layer_range, milliseconds, number, percent, points, rate, size
from emodir_tui.reports.tables import print_table
from emodir_tui.reports.views import pick_view
from emodir_tui.runs.checkpoint import Checkpoints
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.eta import eta_seconds
from emodir_tui.runs.state import RunState, Subnetwork
from emodir_tui.runs.status import Status


def run_view(directory: RunDirectory, state: RunState, status: Status) -> dict[str, Any]:
    """A run as JSON values."""
    baseline, stage, now = state.baseline, state.stage, time.time()
    return {
        "id": directory.id,
        "state": status.word,
        "reason": status.reason,
        "error": state.error or None,
        "hint": state.hint or None,
        "stage": stage.name if stage else None,
        "progress": round(state.progress, 4),
        "elapsed_seconds": round(state.elapsed_seconds(now if status.is_live else state.updated or now), 3),
        "eta_seconds": eta_seconds(state, status.word, now),
        "pid": state.pid or None,
        "host": state.host or None,
        "device": state.device or None,
        "directory": str(directory.path),
        "attempt": state.attempt,
        "damaged_events": state.damaged,
        "baseline": None
        if baseline is None
        else {
            "accuracy": baseline.accuracy,
            "macs": baseline.macs,
            "params": baseline.params,
            "latency_ms": baseline.latency_ms,
        },
        "subnetworks": [_subnetwork(item) for item in state.subnetworks.values()],
        "protected": [
            {"place": item.place, "channels": item.channels, "reason": item.reason} for item in state.protected
        ],
        "complexity": state.complexity,
        "ranking_size": len(state.ranking),
        "joint": {
            "size": state.joint.front_size,
            "hypervolume": state.joint.hypervolume,
            "generation": state.joint.generation,
            "generations": state.joint.generations,
            "evaluations": state.joint.evaluations,
        },
        "picks": [pick_view(pick) for pick in state.picks.values()],
        "checkpoints": [
            {
                "id": info.id,
                "stage": info.place.stage,
                "subnetwork": info.place.subject or None,
                "generation": info.step,
                "bytes": info.bytes,
                "saved": info.saved,
                "reason": info.reason,
            }
            for info in Checkpoints(directory, keep=1).infos()
        ],
    }


def print_run(state: RunState, view: dict[str, Any]) -> None:
    """Print a run in detail."""
    lines = [
        ["run", view["id"]],
        ["state", view["state"] + (f": {view['error'] or view['reason']}" if view["error"] or view["reason"] else "")],
        ["stage", f"{view['stage'] or '—'} ({percent(view['progress'], 0)})"],
        ["time", f"elapsed {duration(view['elapsed_seconds'])}, ETA {duration(view['eta_seconds'])}"],
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
                age(time.time() - item["saved"]),
                item["reason"],
            ]
            for item in view["checkpoints"]
        ]
        print_table(["Checkpoint", "Stage", "Subject", "Step", "Size", "Age", "Reason"], rows)


def print_result(state: RunState) -> None:
    """Print the original network and each pick."""
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
            # Picks are measured together with the original, because measurements at different times cannot be compared.
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
                points(change),
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


def _subnetwork(item: Subnetwork) -> dict[str, Any]:
    return {
        "name": item.name,
        "layers": list(item.layers),
        "channels": item.channels,
        "macs": item.macs,
        "generation": item.generation,
        "generations": item.generations,
        "hypervolume": item.hypervolume,
        "hypervolume_trained": item.hypervolume_trained,
        "front_size": item.front_size,
        "evaluations": item.evaluations,
        "evaluations_per_second": item.evaluations_per_second,
    }
