"""A run as plain values, for `--json` and for the tables alike."""

from typing import Any

from emodir_tui.runs.checkpoint import Checkpoints
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.state import Pick, RunState, Subnetwork
from emodir_tui.runs.status import Status
from emodir_tui.runs.watcher import Watcher


def look_at(directory: RunDirectory) -> tuple[RunState, Status]:
    """A run's state and status now."""
    watcher = Watcher(directory)
    _, status = watcher.look()
    return watcher.state, status


def run_row(directory: RunDirectory) -> dict[str, Any]:
    """One entry of `emodir runs`."""
    state, status = look_at(directory)
    stage = state.stage
    return {
        "id": directory.id,
        "name": directory.id.rpartition("-")[0],
        "state": status.word,
        "stage": stage.name if stage else None,
        "progress": 1.0 if status.word == "finished" else round(state.progress, 4),
        "profile": str(directory.profile_file),
        "started": state.started or directory.created,
        "updated": state.updated,
        "pid": state.pid or None,
        "host": state.host or None,
        "best_pick": _pick(best) if (best := best_pick(state)) else None,
    }


def best_pick(state: RunState) -> Pick | None:
    """The finished pick of highest accuracy."""
    finished = [pick for pick in state.picks.values() if pick.accuracy is not None]
    return max(finished, key=lambda pick: pick.accuracy or 0.0, default=None)


def run_view(directory: RunDirectory, state: RunState, status: Status) -> dict[str, Any]:
    """What `emodir show` shows."""
    baseline, stage = state.baseline, state.stage
    return {
        "id": directory.id,
        "state": status.word,
        "reason": status.reason,
        "error": state.error or None,
        "hint": state.hint or None,
        "stage": stage.name if stage else None,
        "progress": round(state.progress, 4),
        "pid": state.pid or None,
        "host": state.host or None,
        "device": state.device or None,
        "directory": str(directory.path),
        "attempt": state.attempt,
        "damaged_events": state.damaged,
        "complexity": state.complexity,
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
        "ranking_size": len(state.ranking),
        "joint": {
            "size": state.joint.front_size,
            "hypervolume": state.joint.hypervolume,
            "generation": state.joint.generation,
            "generations": state.joint.generations,
            "evaluations": state.joint.evaluations,
        },
        "picks": [_pick(pick) for pick in state.picks.values()],
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


def ranking_view(directory: RunDirectory, top: int = 0) -> dict[str, Any]:
    """What `emodir ranking` shows: the complexity that the shares are of, and the `top` rows (0: all), best first."""
    state, _ = look_at(directory)
    rows = [
        {
            "rank": row.rank,
            "level": row.level,
            "subnetwork": row.subnetwork,
            "member": row.member,
            "complexity_kept": row.complexity_kept,
            "local_impairment": row.local_impairment,
            "global_impairment": row.global_impairment,
            "accuracy_change": row.accuracy_change,
            "joint_uses": row.joint_uses,
        }
        for _, row in sorted(state.ranking.items())[: top or None]
    ]
    return {"complexity": state.complexity, "rows": rows}


def _subnetwork(item: Subnetwork) -> dict[str, Any]:
    return {
        "name": item.name,
        "layers": list(item.layers),
        "channels": item.channels,
        "macs": item.macs,
        "generation": item.generation,
        "generations": item.generations,
        "hypervolume": item.hypervolume,
        "front_size": item.front_size,
        "evaluations": item.evaluations,
        "evaluations_per_second": item.evaluations_per_second,
    }


def _pick(pick: Pick) -> dict[str, Any]:
    return {
        "name": pick.name,
        "rule": pick.rule,
        "scheme": pick.scheme,
        "macs_kept": pick.macs_kept,
        "params_kept": pick.params_kept,
        "accuracy_recalibrated": pick.accuracy_recalibrated,
        "accuracy": pick.accuracy,
        "removal_max_difference": pick.removal_max_difference,
        "latency_ms": pick.latency_ms,
        "baseline_latency_ms": pick.baseline_latency_ms,
        "file": pick.file,
    }
