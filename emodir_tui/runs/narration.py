"""Events as lines for people: what following a run prints, a worker in the foreground, and `emodir logs`."""

import time

from emodir_tui.formatting import printable
from emodir_tui.runs.event_types import (
    BaselineMeasured,
    CheckpointDamaged,
    ControlAnswer,
    Event,
    FrontFinished,
    JointFinished,
    Message,
    PickFinished,
    RunClosed,
    StageFinished,
    StageStarted,
)
from emodir_tui.runs.fold import apply
from emodir_tui.runs.names import Outcome, StageName
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
        told = apply(self._state, event) and (self._ends or not isinstance(event, RunClosed))
        return line_of(event, self._state, self._clock) if told else ""


def line_of(event: Event, state: RunState, form: str = CLOCK) -> str:
    """The line that an event deserves, or an empty string: most deserve none."""
    text = _text(event, state)
    return f"{time.strftime(form, time.localtime(event.time))}  {printable(text)}" if text else ""


def _text(event: Event, state: RunState) -> str:
    match event:
        case StageStarted():
            return event.stage.value
        case StageFinished():
            return f"{event.stage} done in {event.seconds:.0f} s"
        case Message(level="info"):
            return event.text
        case Message(level="warning" | "error"):
            return f"{event.level}: {event.text}"
        case CheckpointDamaged():
            return f"warning: {event.text}"
        case RunClosed() if event.outcome != Outcome.FINISHED:
            return f"{event.outcome}{': ' if event.error else ''}{event.error}"
        case BaselineMeasured():
            return f"original network: accuracy {_percent(event.accuracy)}, {event.macs:,} MACs"
        case FrontFinished() if event.subnetwork in state.subnetworks:
            part = state.subnetworks[event.subnetwork]
            # Trained weights' fronts are the searches' members, measured once more.
            trained = state.stage is not None and state.stage.name == StageName.CONSTRAIN
            found = "with the trained weights" if trained else f"{part.evaluations} evaluations"
            return f"{part.name}: front of {part.front_size}, hypervolume {_number(part.hypervolume)}, {found}"
        case JointFinished():
            return f"joint front of {state.joint.front_size}, hypervolume {_number(state.joint.hypervolume)}"
        case PickFinished() if event.pick in state.picks:
            pick = state.picks[event.pick]
            return f"pick {pick.name}: accuracy {_percent(pick.accuracy)} at {_percent(pick.macs_kept)} of the MACs"
        case ControlAnswer():
            return f"{event.command} {event.state} ({event.by}) {event.message}".rstrip()
    return ""


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{100 * share:.2f} %"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}"
