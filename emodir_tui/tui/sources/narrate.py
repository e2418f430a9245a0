"""Events as log lines: level and sentence of each."""

from collections.abc import Callable

from emodir_tui.formatting import duration, literal, number, percent, plural, size
from emodir_tui.runs.events import Event

LEVELS = ("detail", "info", "warning", "error")
# Kinds of events with a line at the level of details.
DETAILS = ("search_generation", "joint_generation", "epoch")


def format_event(event: Event) -> tuple[str, str] | None:
    """Level and sentence of an event, or None for an event without a line in the log. Never raises."""
    try:
        return _format(event)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        # A damaged event is counted by the fold; the log leaves it out.
        return None


def _format(event: Event) -> tuple[str, str] | None:
    kind = event["kind"]
    if kind == "search_generation":
        where = f"{event['subnetwork']} generation {event['generation']}/{event['generations']}"
        return "detail", literal(f"{where} · hypervolume {number(event['hypervolume'])} · front {event['front_size']}")
    if kind == "message":
        level = {"debug": "detail"}.get(event["level"], event["level"])
        return (level if level in LEVELS else "info"), literal(event["text"])
    if kind.startswith("control_"):
        return _control(kind.removeprefix("control_"), event)
    level, text = _format_other(kind, event)
    return (level, literal(text)) if text else None


def _control(state: str, event: Event) -> tuple[str, str]:
    text = f"{event['command']} {state} ({event.get('by', '?')})"
    message = event.get("message", "")
    return ("warning" if state == "refused" else "info"), literal(f"{text}: {message}" if message else text)


def _format_other(kind: str, event: Event) -> tuple[str, str]:
    """Level and text of the other kinds; an empty text for those without a line."""
    formatter = _FORMATTERS.get(kind)
    return formatter(event) if formatter is not None else ("", "")


def _joint_generation(event: Event) -> tuple[str, str]:
    where = f"joint generation {event['generation']}/{event['generations']}"
    return "detail", f"{where} · hypervolume {number(event['hypervolume'])} · front {event['front_size']}"


def _epoch(event: Event) -> tuple[str, str]:
    accuracy = event.get("accuracy")
    subject = f"{event['subject']} " if event.get("subject") else ""
    suffix = f" · accuracy {percent(accuracy, 2)}" if accuracy is not None else ""
    return "detail", (
        f"{event['stage']} {subject}epoch {event['epoch']}/{event['epochs']} · loss {number(event.get('loss'))}{suffix}"
    )


def _closed(event: Event) -> tuple[str, str]:
    error = event.get("error", "")
    if event["outcome"] == "failed":
        return "error", f"the run failed: {error}"
    return "info", f"the run has {event['outcome']}" if event["outcome"] == "finished" else "the run stopped"


def _realised(event: Event) -> tuple[str, str]:
    return "info", (
        f"pick {event['pick']} realised: {percent(event.get('macs_kept'))} of the MACs, "
        f"accuracy {percent(event.get('accuracy_recalibrated'), 2)} before fine-tuning"
    )


_FORMATTERS: dict[str, Callable[[Event], tuple[str, str]]] = {
    "joint_generation": _joint_generation,
    "epoch": _epoch,
    "run_opened": lambda e: ("info", f"attempt {e['attempt']} opened: process {e['pid']} on {e['host']}"),
    "run_closed": _closed,
    "condition_changed": lambda e: ("info", f"the run is {e['condition']}"),
    "stage_started": lambda e: ("info", f"{e['stage']} started"),
    "stage_finished": lambda e: ("info", f"{e['stage']} finished after {duration(e['seconds'])}"),
    "baseline_measured": lambda e: ("info", f"original network: accuracy {percent(e['accuracy'], 2)}"),
    "network_divided": lambda e: ("info", f"divided into {plural(len(e['subnetworks']), 'sub-network')}"),
    "front_finished": lambda e: ("info", f"{e['subnetwork']}: front of {plural(len(e['members']), 'member')}"),
    "joint_finished": lambda e: ("info", f"joint front of {plural(len(e['schemes']), 'scheme')}"),
    "picks_chosen": lambda e: ("info", "picks: " + ", ".join(str(pick["name"]) for pick in e["picks"])),
    "pick_realised": _realised,
    "pick_finished": lambda e: ("info", f"pick {e['pick']}: accuracy {percent(e['accuracy'], 2)}"),
    "checkpoint_saved": lambda e: ("info", f"checkpoint {e['id']} saved ({size(e['bytes'])}, {e['reason']})"),
    "checkpoint_damaged": lambda e: ("warning", str(e["text"])),
    "rewound": lambda e: ("warning", f"went back to {e['id']}"),
}
