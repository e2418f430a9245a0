"""Events as lines for people: what following a run prints, a worker in the foreground, and `emodir logs`."""

import time

from emodir_tui.formatting import printable
from emodir_tui.runs.events import Event
from emodir_tui.runs.fold import apply
from emodir_tui.runs.state import RunState

CLOCK = "%H:%M:%S"


class EventFormatter:
    """Makes lines of events that come in their order, each of what was known by then.

    Args:
        state: What was known before the first of them.
        clock: The form of their times, as `strftime` takes it.
        ends: Whether lines tell how attempts ended; who follows one is told otherwise.
    """

    def __init__(self, state: RunState | None = None, clock: str = CLOCK, *, ends: bool = False) -> None:
        self._state = state or RunState()
        self._clock = clock
        self._ends = ends

    def line(self, event: Event) -> str:
        """The event's line, empty for most and for damaged ones."""
        told = apply(self._state, event) and (self._ends or event["kind"] != "run_closed")
        return line_of(event, self._state, self._clock) if told else ""


def line_of(event: Event, state: RunState, form: str = CLOCK) -> str:
    """The line that an event deserves, or an empty string: most deserve none, and so does one that is not what it says."""
    try:
        text = _text(event, state)
        clock = time.strftime(form, time.localtime(event["time"]))
    except (TypeError, ValueError, OverflowError, OSError, RecursionError):
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
    elif kind == "checkpoint_damaged":
        text = f"warning: {event.get('text')}"
    elif kind == "run_closed" and event.get("outcome") != "finished":
        text = f"{event.get('outcome')}{': ' if event.get('error') else ''}{event.get('error') or ''}"
    elif kind == "baseline_measured" and state.baseline is not None:
        text = f"original network: accuracy {_percent(state.baseline.accuracy)}, {state.baseline.macs:,} MACs"
    elif kind == "front_finished" and event.get("subnetwork") in state.subnetworks:
        part = state.subnetworks[event["subnetwork"]]
        # Trained weights' fronts are the searches' members, measured once more.
        trained = state.stage is not None and state.stage.name == "constrain"
        found = "with the trained weights" if trained else f"{part.evaluations} evaluations"
        text = f"{part.name}: front of {part.front_size}, hypervolume {_number(part.hypervolume)}, {found}"
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
