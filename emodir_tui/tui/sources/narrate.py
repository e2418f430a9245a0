"""Events as log lines: level and sentence of each."""

from emodir_tui.formatting import duration, literal, number, percent, plural, size
from emodir_tui.runs.event_types import (
    BaselineMeasured,
    CheckpointDamaged,
    CheckpointSaved,
    ConditionChanged,
    ControlAnswer,
    Epoch,
    Event,
    FrontFinished,
    JointFinished,
    JointGeneration,
    Message,
    NetworkDivided,
    PickFinished,
    PickRealised,
    PicksChosen,
    Rewound,
    RunClosed,
    RunOpened,
    SearchGeneration,
    StageFinished,
    StageStarted,
)
from emodir_tui.runs.names import AnswerState, Outcome

LEVELS = ("detail", "info", "warning", "error")
# Kinds of events with a line at the level of details.
DETAILS = (SearchGeneration, JointGeneration, Epoch)


def format_event(event: Event) -> tuple[str, str] | None:
    """Level and sentence of an event, or None for an event without a line in the log."""
    level, text = _format(event)
    return (level, literal(text)) if text else None


def _format(event: Event) -> tuple[str, str]:
    """Level and text; an empty text for kinds without a line."""
    match event:
        case SearchGeneration():
            where = f"{event.subnetwork} generation {event.generation}/{event.generations}"
            return "detail", f"{where} · hypervolume {number(event.hypervolume)} · front {event.front_size}"
        case JointGeneration():
            where = f"joint generation {event.generation}/{event.generations}"
            return "detail", f"{where} · hypervolume {number(event.hypervolume)} · front {event.front_size}"
        case Epoch():
            return "detail", _epoch(event)
        case Message():
            level = {"debug": "detail"}.get(event.level, event.level)
            return level if level in LEVELS else "info", event.text
        case ControlAnswer():
            text = f"{event.command} {event.state} ({event.by or '?'})"
            level = "warning" if event.state == AnswerState.REFUSED else "info"
            return level, f"{text}: {event.message}" if event.message else text
        case RunClosed(outcome=Outcome.FAILED):
            return "error", f"the run failed: {event.error}"
        case CheckpointDamaged():
            return "warning", event.text
        case Rewound():
            return "warning", f"went back to {event.id}"
    return "info", _info(event)


def _epoch(event: Epoch) -> str:
    subject = f"{event.subject} " if event.subject else ""
    where = f"{event.stage} {subject}epoch {event.epoch}/{event.epochs}"
    suffix = f" · accuracy {percent(event.accuracy, 2)}" if event.accuracy is not None else ""
    return f"{where} · loss {number(event.loss)}{suffix}"


def _info(event: Event) -> str:
    text = ""
    match event:
        case RunOpened():
            text = f"attempt {event.attempt} opened: process {event.pid} on {event.host}"
        case RunClosed():
            text = "the run has finished" if event.outcome == Outcome.FINISHED else "the run stopped"
        case ConditionChanged():
            text = f"the run is {event.condition}"
        case StageStarted():
            text = f"{event.stage} started"
        case StageFinished():
            text = f"{event.stage} finished after {duration(event.seconds)}"
        case BaselineMeasured():
            text = f"original network: accuracy {percent(event.accuracy, 2)}"
        case NetworkDivided():
            text = f"divided into {plural(len(event.subnetworks), 'sub-network')}"
        case FrontFinished():
            text = f"{event.subnetwork}: front of {plural(len(event.members), 'member')}"
        case JointFinished():
            text = f"joint front of {plural(len(event.schemes), 'scheme')}"
        case PicksChosen():
            text = "picks: " + ", ".join(pick.name for pick in event.picks)
        case PickRealised():
            text = (
                f"pick {event.pick} realised: {percent(event.macs_kept)} of the MACs, "
                f"accuracy {percent(event.accuracy_recalibrated, 2)} before fine-tuning"
            )
        case PickFinished():
            text = f"pick {event.pick}: accuracy {percent(event.accuracy, 2)}"
        case CheckpointSaved():
            text = f"checkpoint {event.id} saved ({size(event.bytes)}, {event.reason})"
    return text
