"""The fold: one event at a time into a RunState. The same events in the same order give the same state.

Values are keyed by (stage, sub-network, step), so events that a resumed worker repeats change nothing.
"""

from collections.abc import Callable, Iterable
from typing import Any

from emodir_tui.runs.checkpoint import number_of
from emodir_tui.runs.events import Event
from emodir_tui.runs.state import (
    Baseline,
    Checkpoint,
    Control,
    Epoch,
    Group,
    Joint,
    Member,
    Message,
    Pick,
    Point,
    ProtectedPlace,
    RankingRow,
    RunState,
    Scheme,
    Stage,
    Subnetwork,
)

# Beyond these a number in a log is damage, and reckoning with it would fail.
LARGEST, LARGEST_INTEGER = 1e100, 1 << 53


def replay(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """The state that these events add up to, on top of `state` where one is given."""
    state = RunState() if state is None else state
    for event in events:
        apply(state, event)
    return state


def apply(state: RunState, event: Event) -> bool:
    """Take one event in; False for one that is not what its kind promises, which is counted in `damaged` and left out."""
    try:
        handler = _HANDLERS.get(event["kind"])
        time = _number(event, "time")
        if handler is not None:
            handler(state, event)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        state.damaged += 1
        return False
    state.events += 1
    state.updated = time if state.updated is None else max(time, state.updated)
    return True


def _run_opened(state: RunState, event: Event) -> None:
    time = float(event["time"])
    if state.opened is not None:
        state.earlier_seconds += max(0.0, (state.updated or state.opened) - state.opened)
    state.attempt = _integer(event, "attempt")
    state.pid = _integer(event, "pid")
    state.host = _text(event, "host")
    state.device = _text(event, "device", "")
    state.started = time if state.started is None else state.started
    state.opened = time
    state.condition, state.condition_since = "running", time
    state.outcome, state.error, state.hint = None, "", ""


def _run_closed(state: RunState, event: Event) -> None:
    time = float(event["time"])
    outcome = _text(event, "outcome")
    if outcome not in ("finished", "stopped", "failed"):
        raise ValueError(outcome)
    state.error, state.hint = _text(event, "error", ""), _text(event, "hint", "")
    state.outcome = outcome
    state.condition, state.condition_since = outcome, time


def _condition_changed(state: RunState, event: Event) -> None:
    time = float(event["time"])
    condition = _text(event, "condition")
    if condition not in ("running", "paused", "stopping"):
        raise ValueError(condition)
    if state.condition == "paused" and state.condition_since is not None and state.opened is not None:
        # Waiting is no work: neither elapsed time nor what a step takes counts it.
        waited = max(0.0, time - state.condition_since)
        state.opened += waited
        for stage in state.stages.values():
            if stage.state == "running" and stage.started is not None:
                stage.started += waited
    state.condition, state.condition_since = condition, time


def _plan_made(state: RunState, event: Event) -> None:
    costs = {name: float(_number(event["costs"], name)) for name in event["costs"] if name in state.stages}
    for name, cost in costs.items():
        state.stages[name].cost = max(0.0, cost)


def _stage_started(state: RunState, event: Event) -> None:
    time = float(event["time"])
    stage = state.stages[_text(event, "stage")]
    stage.state, stage.started = "running", time
    stage.step = stage.steps = 0
    stage.seconds = None


def _stage_finished(state: RunState, event: Event) -> None:
    stage = state.stages[_text(event, "stage")]
    stage.seconds = float(_number(event, "seconds"))
    stage.state = "done"
    if stage.name in ("search", "constrain"):
        for subnetwork in state.subnetworks.values():
            subnetwork.state = "done"


def _progress(state: RunState, event: Event) -> None:
    stage = state.stages[_text(event, "stage")]
    step, steps = _integer(event, "step"), _integer(event, "steps")
    stage.unit, stage.note = _text(event, "unit", ""), _text(event, "note", "")
    stage.step, stage.steps = step, steps


def _baseline_measured(state: RunState, event: Event) -> None:
    state.baseline = Baseline(
        accuracy=_number(event, "accuracy"),
        macs=_integer(event, "macs"),
        params=_integer(event, "params"),
        latency_ms=_optional(event, "latency_ms"),
        trained=event.get("trained") is True,
    )


def _network_divided(state: RunState, event: Event) -> None:
    subnetworks = {}
    for item in event["subnetworks"]:
        name = _text(item, "name")
        subnetworks[name] = Subnetwork(
            name=name,
            layers=tuple(str(layer) for layer in item["layers"]),
            groups=tuple(
                Group(name=_text(group, "name"), channels=_integer(group, "channels"), kind=_text(group, "kind"))
                for group in item["groups"]
            ),
            channels=_integer(item, "channels"),
            macs=_integer(item, "macs"),
            share=float(_number(item, "share")),
        )
    state.protected = tuple(
        ProtectedPlace(place=_text(item, "place"), channels=_integer(item, "channels"), reason=_text(item, "reason"))
        for item in event.get("protected", [])
    )
    # A resumed run says it again: what was learnt of the same sub-networks stays.
    if list(subnetworks) != list(state.subnetworks):
        state.subnetworks = subnetworks


def _search_generation(state: RunState, event: Event) -> None:
    subnetwork = state.subnetworks[_text(event, "subnetwork")]
    generation, search_round = _integer(event, "generation"), _integer(event, "round")
    hypervolume, generations = float(_number(event, "hypervolume")), _integer(event, "generations")
    front = _points(event["front"]) if "front" in event else subnetwork.front
    subnetwork.hypervolumes[search_round, generation] = hypervolume
    if (search_round, generation) < (subnetwork.round, subnetwork.generation):
        return
    subnetwork.state = "running"
    subnetwork.round, subnetwork.generation, subnetwork.generations = search_round, generation, generations
    subnetwork.hypervolume, subnetwork.front = hypervolume, front
    subnetwork.front_size = _integer(event, "front_size")
    subnetwork.evaluations = _integer(event, "evaluations")
    subnetwork.evaluations_per_second = _optional(event, "evaluations_per_second")


def _front_finished(state: RunState, event: Event) -> None:
    subnetwork = state.subnetworks[_text(event, "subnetwork")]
    subnetwork.members = tuple(
        Member(
            member=_integer(item, "member"),
            complexity=float(_number(item, "complexity")),
            impairment=float(_number(item, "impairment")),
            kept=tuple(int(count) for count in item.get("kept", [])),
        )
        for item in event["members"]
    )
    subnetwork.front = tuple((member.complexity, member.impairment) for member in subnetwork.members)
    if event.get("hypervolume") is not None:
        subnetwork.hypervolume = float(_number(event, "hypervolume"))
    subnetwork.front_size = len(subnetwork.members)
    subnetwork.state = "done"


def _epoch(state: RunState, event: Event) -> None:
    epoch = Epoch(
        stage=_text(event, "stage"),
        subject=_text(event, "subject", ""),
        epoch=_integer(event, "epoch"),
        epochs=_integer(event, "epochs"),
        loss=_optional(event, "loss"),
        accuracy=_optional(event, "accuracy"),
        learning_rate=_optional(event, "learning_rate"),
        step=_integer(event, "step") if "step" in event else 0,
    )
    state.epochs[epoch.stage, epoch.subject, epoch.epoch] = epoch


def _ranking_rows(state: RunState, event: Event) -> None:
    rows = [
        RankingRow(
            rank=_integer(item, "rank"),
            level=_integer(item, "level"),
            subnetwork=_text(item, "subnetwork"),
            member=_integer(item, "member"),
            macs_kept=float(_number(item, "macs_kept")),
            local_impairment=float(_number(item, "local_impairment")),
            global_impairment=float(_number(item, "global_impairment")),
            accuracy_change=float(_number(item, "accuracy_change")),
            kl=float(_number(item, "kl")),
        )
        for item in event["rows"]
    ]
    for row in rows:
        known = state.ranking.get(row.rank)
        row.joint_uses = known.joint_uses if known else 0
        state.ranking[row.rank] = row


def _joint_generation(state: RunState, event: Event) -> None:
    joint = state.joint
    generation, hypervolume = _integer(event, "generation"), float(_number(event, "hypervolume"))
    generations = _integer(event, "generations")
    front = _points(event["front"]) if "front" in event else joint.front
    joint.hypervolumes[generation] = hypervolume
    if generation < joint.generation:
        return
    joint.generation, joint.generations, joint.hypervolume, joint.front = generation, generations, hypervolume, front
    joint.front_size, joint.evaluations = _integer(event, "front_size"), _integer(event, "evaluations")
    joint.evaluations_per_second = _optional(event, "evaluations_per_second")


def _joint_finished(state: RunState, event: Event) -> None:
    schemes = tuple(
        Scheme(
            scheme=_integer(item, "scheme"),
            complexity=float(_number(item, "complexity")),
            impairment=float(_number(item, "impairment")),
            members=tuple(int(member) for member in item["members"]),
            accuracy=_optional(item, "accuracy"),
            changed=_integer(item, "changed") if "changed" in item else 0,
        )
        for item in event["schemes"]
    )
    state.joint.schemes = schemes
    state.joint.front = tuple((scheme.complexity, scheme.impairment) for scheme in schemes)
    state.joint.front_size = len(schemes)
    names = list(state.subnetworks)
    uses: dict[tuple[str, int], int] = {}
    for scheme in schemes:
        for name, member in zip(names, scheme.members, strict=False):
            uses[name, member] = uses.get((name, member), 0) + 1
    for row in state.ranking.values():
        row.joint_uses = uses.get((row.subnetwork, row.member), 0)


def _picks_chosen(state: RunState, event: Event) -> None:
    for item in event["picks"]:
        pick = Pick(
            name=_text(item, "name"),
            scheme=_integer(item, "scheme"),
            rule=_text(item, "rule"),
            complexity=float(_number(item, "complexity")),
        )
        if pick.name not in state.picks:
            state.picks[pick.name] = pick


def _pick_realised(state: RunState, event: Event) -> None:
    pick = state.picks[_text(event, "pick")]
    pick.macs_kept, pick.params_kept = _optional(event, "macs_kept"), _optional(event, "params_kept")
    pick.accuracy_recalibrated = _optional(event, "accuracy_recalibrated")
    pick.removal_max_difference = _optional(event, "removal_max_difference")


def _pick_finished(state: RunState, event: Event) -> None:
    pick = state.picks[_text(event, "pick")]
    pick.accuracy = _optional(event, "accuracy")
    pick.latency_ms, pick.baseline_latency_ms = _optional(event, "latency_ms"), _optional(event, "baseline_latency_ms")
    pick.file = _text(event, "file")


def _checkpoint_saved(state: RunState, event: Event) -> None:
    time = float(event["time"])
    checkpoint = Checkpoint(
        id=_text(event, "id"),
        stage=_text(event, "stage"),
        subnetwork=event["subnetwork"] if isinstance(event.get("subnetwork"), str) else None,
        generation=_integer(event, "step"),
        bytes=_integer(event, "bytes"),
        saved=time,
        reason=_text(event, "reason"),
    )
    state.checkpoints[checkpoint.id] = checkpoint
    removed = event.get("removed", [])
    for name in removed if isinstance(removed, list) else []:
        state.checkpoints.pop(name, None)


def _checkpoint_damaged(state: RunState, event: Event) -> None:
    time = float(event["time"])
    checkpoint = state.checkpoints.get(_text(event, "id"))
    if checkpoint is not None:
        checkpoint.damaged = True
    state.messages.append(Message(time=time, level="warning", text=_text(event, "text")))


def _control(state: RunState, event: Event) -> None:
    time = float(event["time"])
    kind = str(event["kind"]).removeprefix("control_")
    control = Control(
        id=_text(event, "id"),
        command=_text(event, "command"),
        by=_text(event, "by", ""),
        state=kind,
        message=_text(event, "message", ""),
        time=time,
    )
    state.controls[control.id] = control


def _rewound(state: RunState, event: Event) -> None:
    """A resume from a chosen checkpoint: what came after it is no longer part of this run's story."""
    kept = [str(name) for name in event["results"]]
    newest = number_of(_text(event, "id"))
    state.checkpoints = {key: value for key, value in state.checkpoints.items() if number_of(key) <= newest}
    order = list(state.stages)
    stage, step = _text(event, "stage"), _integer(event, "step")
    here = (stage, event.get("subnetwork") or "", _integer(event, "round"))
    current = order.index(stage)
    for name in order[current:]:
        state.stages[name] = Stage(name=name, cost=state.stages[name].cost)
    if current <= order.index("divide"):
        state.subnetworks, state.protected = {}, ()
    for subnetwork in state.subnetworks.values():
        _rewind_search(subnetwork, kept, here, step, constrained=current > order.index("search"))
    if current <= order.index("rank"):
        state.ranking = {}
    if current <= order.index("joint"):
        limit = step if stage == "joint" else -1
        state.joint = Joint(
            hypervolumes={key: value for key, value in state.joint.hypervolumes.items() if key <= limit}
        )
    if current <= order.index("realise"):
        state.picks = {}
    state.epochs = {
        key: epoch
        for key, epoch in state.epochs.items()
        if order.index(epoch.stage) < current
        or f"{epoch.stage}.{epoch.subject}" in kept
        or ((epoch.stage, epoch.subject) == here[:2] and epoch.step <= step)
    }


def _rewind_search(
    subnetwork: Subnetwork, kept: list[str], here: tuple[str, str, int], step: int, *, constrained: bool
) -> None:
    if f"{'constrain.front' if constrained else 'search'}.{subnetwork.name}" in kept:
        return
    is_here = here[1] == subnetwork.name and here[2] == (2 if constrained else 1)
    limit = (*here[2:], step) if is_here else (1, 1 << 60) if constrained else (1, -1)
    hypervolumes = {key: value for key, value in subnetwork.hypervolumes.items() if key <= limit}
    subnetwork.hypervolumes = hypervolumes
    subnetwork.round, subnetwork.generation = max(hypervolumes, default=(1, 0))
    subnetwork.hypervolume = hypervolumes[max(hypervolumes)] if hypervolumes else None
    if not constrained:
        subnetwork.state, subnetwork.front, subnetwork.members = "waiting", (), ()
        subnetwork.front_size = subnetwork.evaluations = 0


def _message(state: RunState, event: Event) -> None:
    time = float(event["time"])
    stage = event.get("stage")
    level = _text(event, "level")
    text = _text(event, "text")
    state.messages.append(Message(time=time, level=level, text=text, stage=stage if isinstance(stage, str) else None))


def _text(item: dict[str, Any], key: str, default: str | None = None) -> str:
    value = item[key] if default is None else item.get(key, default)
    if not isinstance(value, str):
        raise TypeError(key)
    return value


def _number(item: dict[str, Any], key: str) -> float:
    value = item[key]
    # JSON gives plain types only, and true is no number; neither is NaN below anything.
    if type(value) not in (int, float) or not abs(value) < LARGEST:
        raise TypeError(key)
    return value  # type: ignore[no-any-return]


def _integer(item: dict[str, Any], key: str) -> int:
    value = item[key]
    if type(value) is not int or abs(value) > LARGEST_INTEGER:
        raise TypeError(key)
    return value


def _optional(item: dict[str, Any], key: str) -> float | None:
    return None if item.get(key) is None else float(_number(item, key))


def _points(values: Any) -> tuple[Point, ...]:
    return tuple((float(x), float(y)) for x, y in values)


_HANDLERS: dict[str, Callable[[RunState, Event], None]] = {
    "run_opened": _run_opened,
    "run_closed": _run_closed,
    "condition_changed": _condition_changed,
    "plan_made": _plan_made,
    "stage_started": _stage_started,
    "stage_finished": _stage_finished,
    "progress": _progress,
    "baseline_measured": _baseline_measured,
    "network_divided": _network_divided,
    "search_generation": _search_generation,
    "front_finished": _front_finished,
    "epoch": _epoch,
    "ranking_rows": _ranking_rows,
    "joint_generation": _joint_generation,
    "joint_finished": _joint_finished,
    "picks_chosen": _picks_chosen,
    "pick_realised": _pick_realised,
    "pick_finished": _pick_finished,
    "checkpoint_saved": _checkpoint_saved,
    "checkpoint_damaged": _checkpoint_damaged,
    "control_accepted": _control,
    "control_done": _control,
    "control_refused": _control,
    "rewound": _rewound,
    "message": _message,
}
