"""Events as sentences: the log of `emodir run --no-tui`, of a worker in the foreground, of `emodir logs`, of the dashboard."""

from emodir_tui.formatting import clock, count, duration, literal, number, percent, plural, size
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
from emodir_tui.runs.names import AnswerState, Outcome, StageName

LEVELS = ("detail", "info", "warning", "error")
# Kinds of events with a line at the level of details; they come by the thousand.
DETAILS = (SearchGeneration, JointGeneration, Epoch, CheckpointSaved)


class EventFormatter:
    """Formats events as lines of a log, without details.

    Args:
        date: Whether lines begin with the date as well as the time.
        outcomes: Whether the end of an attempt has a line. Commands that follow a run report the end themselves.
    """

    def __init__(self, *, date: bool = False, outcomes: bool = False) -> None:
        self._date = date
        self._outcomes = outcomes

    def line(self, event: Event) -> str:
        """The event's line, or an empty string for an event without one."""
        formatted = format_event(event)
        if formatted is None or isinstance(event, DETAILS) or (isinstance(event, RunClosed) and not self._outcomes):
            return ""
        level, text = formatted
        prefix = f"{level}: " if level in ("warning", "error") else ""
        return f"{clock(event.time, date=self._date)}  {prefix}{text}" if level != "detail" else ""


def format_event(event: Event) -> tuple[str, str] | None:
    """Level and sentence of an event, or None for an event without a sentence, such as a damaged one."""
    level, text = _format(event)
    return (level, literal(text)) if text else None


def _format(event: Event) -> tuple[str, str]:
    match event:
        case SearchGeneration() | JointGeneration() | Epoch() | CheckpointSaved():
            return "detail", _details(event)
        case Message():
            level = {"debug": "detail"}.get(event.level, event.level)
            return level if level in LEVELS else "info", event.text
        case ControlAnswer():
            text = f"{event.command} {event.state} ({event.by or '?'})"
            level = "warning" if event.state == AnswerState.REFUSED else "info"
            return level, f"{text}: {event.message}" if event.message else text
        case RunClosed(outcome=Outcome.FAILED):
            return "error", f"the run has failed: {event.error}"
        case CheckpointDamaged():
            return "warning", event.text
        case Rewound():
            return "warning", f"went back to {event.id}"
    return "info", _info(event)


def _details(event: SearchGeneration | JointGeneration | Epoch | CheckpointSaved) -> str:
    match event:
        case SearchGeneration():
            where = f"{event.subnetwork} generation {event.generation}/{event.generations}"
            return f"{where} · hypervolume {number(event.hypervolume)} · front {event.front_size}"
        case JointGeneration():
            where = f"joint generation {event.generation}/{event.generations}"
            return f"{where} · hypervolume {number(event.hypervolume)} · front {event.front_size}"
        case Epoch():
            subject = f"{event.subject} " if event.subject else ""
            accuracy = f" · accuracy {percent(event.accuracy, 2)}" if event.accuracy is not None else ""
            return f"{event.stage} {subject}epoch {event.epoch}/{event.epochs} · loss {number(event.loss)}{accuracy}"
        case CheckpointSaved():
            return f"checkpoint {event.id} saved ({size(event.bytes)}, {event.reason})"


def _info(event: Event) -> str:
    text = ""
    match event:
        case RunOpened():
            text = f"attempt {event.attempt} opened: process {event.pid} on {event.host}"
        case RunClosed():
            text = f"the run has {event.outcome}"
        case ConditionChanged():
            text = f"the run is {event.condition}"
        case StageStarted():
            text = f"{event.stage} started"
        case StageFinished():
            text = f"{event.stage} finished after {duration(event.seconds)}"
        case BaselineMeasured():
            text = f"original network: accuracy {percent(event.accuracy, 2)}, {count(event.macs)} MACs"
        case NetworkDivided():
            text = f"divided into {plural(len(event.subnetworks), 'sub-network')}"
        case FrontFinished():
            text = f"{event.subnetwork}: front of {plural(len(event.members), 'member')}{_hypervolume(event)}"
            if event.stage == StageName.CONSTRAIN:
                text += ", with the trained weights"
            elif event.evaluations is not None:
                text += f", {plural(event.evaluations, 'evaluation')}"
        case JointFinished():
            text = f"joint front of {plural(len(event.schemes), 'scheme')}{_hypervolume(event)}"
        case PicksChosen():
            text = "picks: " + ", ".join(pick.name for pick in event.picks)
        case PickRealised():
            text = (
                f"pick {event.pick} realised: {percent(event.macs_kept)} of the MACs, "
                f"accuracy {percent(event.accuracy_recalibrated, 2)} before fine-tuning"
            )
        case PickFinished():
            kept = f" at {percent(event.macs_kept)} of the MACs" if event.macs_kept is not None else ""
            text = f"pick {event.pick} finished: accuracy {percent(event.accuracy, 2)}{kept}"
    return text


def _hypervolume(event: FrontFinished | JointFinished) -> str:
    return f", hypervolume {number(event.hypervolume)}" if event.hypervolume is not None else ""
