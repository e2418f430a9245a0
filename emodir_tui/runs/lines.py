"""Events as lines for people: what following a run prints, and a worker in the foreground."""

import time

from emodir_tui.runs.events import Event
from emodir_tui.runs.state import RunState
from emodir_tui.runs.text import printable


def line_of(event: Event, state: RunState) -> str:
    """The line that an event deserves, or an empty string: most deserve none, and so does one that is not what it says."""
    try:
        text = _text(event, state)
        clock = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    except (TypeError, ValueError, OverflowError, OSError):
        return ""
    return f"{clock}  {printable(text)}" if text else ""


def _text(event: Event, state: RunState) -> str:
    text = ""
    kind, stage = event["kind"], event.get("stage")
    if kind == "stage_started":
        text = f"{stage}"
    elif kind == "stage_finished":
        text = f"{stage} done in {event.get('seconds', 0):.0f} s"
    elif kind == "message" and event.get("level") in ("info", "warning", "error"):
        text = f"{event['level'] + ': ' if event['level'] != 'info' else ''}{event.get('text')}"
    elif kind == "baseline_measured" and state.baseline is not None:
        text = f"original network: accuracy {_percent(state.baseline.accuracy)}, {state.baseline.macs:,} MACs"
    elif kind == "front_finished" and event.get("subnetwork") in state.subnetworks:
        part = state.subnetworks[event["subnetwork"]]
        text = f"{part.name}: front of {part.front_size}, hypervolume {_number(part.hypervolume)}, {part.evaluations} evaluations"
    elif kind == "joint_finished":
        text = f"joint front of {state.joint.front_size}, hypervolume {_number(state.joint.hypervolume)}"
    elif kind == "pick_finished" and event.get("pick") in state.picks:
        pick = state.picks[event["pick"]]
        text = f"pick {pick.name}: accuracy {_percent(pick.accuracy)} at {_percent(pick.macs_kept)} of the MACs"
    elif kind in ("control_accepted", "control_done", "control_refused"):
        text = f"{event.get('command')} {kind.removeprefix('control_')} ({event.get('by')}) {event.get('message', '')}".rstrip()
    return text


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{100 * share:.2f} %"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}"
