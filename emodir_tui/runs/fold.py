"""The fold: one event at a time into a RunState. The same events in the same order give the same state.

Values are keyed by (stage, sub-network, step), so events that a resumed worker repeats change nothing.
"""

from collections.abc import Iterable
from functools import singledispatch

import msgspec

from emodir_tui.runs.checkpoint import number_of
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
    PlanMade,
    Progress,
    RankingRows,
    Rewound,
    RunClosed,
    RunOpened,
    SearchGeneration,
    StageFinished,
    StageStarted,
    Undeclared,
)
from emodir_tui.runs.names import Condition, StageName, StageState, front_name, result_name
from emodir_tui.runs.stage import Stage
from emodir_tui.runs.state import Checkpoint, Control, Joint, Pick, RankingRow, RunState, Subnetwork


def replay(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """The state that these events add up to, on top of `state` where one is given."""
    state = RunState() if state is None else state
    for event in events:
        apply(state, event)
    return state


def apply(state: RunState, event: Event) -> bool:
    """Fold one event in. False for a damaged one, or one about something unknown: it is counted and changes nothing."""
    try:
        _fold(event, state)
    except (KeyError, ValueError):
        state.damaged += 1
        return False
    state.events += 1
    state.updated = event.time if state.updated is None else max(event.time, state.updated)
    return True


@singledispatch
def _fold(event: Event, state: RunState) -> None:
    raise NotImplementedError(event.kind)


@_fold.register
def _undeclared(event: Undeclared, state: RunState) -> None:  # noqa: ARG001
    if event.damaged:
        raise ValueError(event.kind)


@_fold.register
def _run_opened(event: RunOpened, state: RunState) -> None:
    if state.opened is not None:
        state.earlier_seconds += max(0.0, (state.updated or state.opened) - state.opened)
    state.attempt, state.pid = event.attempt, event.pid
    state.host, state.device = event.host, event.device
    state.started = event.time if state.started is None else state.started
    state.opened = event.time
    state.attempt_begun = False
    for stage in state.stages.values():
        stage.measured_at = None
    state.condition, state.condition_since = Condition.RUNNING, event.time
    state.outcome, state.error, state.hint = None, "", ""


@_fold.register
def _run_closed(event: RunClosed, state: RunState) -> None:
    state.error, state.hint = event.error, event.hint
    state.outcome = event.outcome
    state.condition, state.condition_since = event.outcome, event.time


@_fold.register
def _condition_changed(event: ConditionChanged, state: RunState) -> None:
    if event.condition == Condition.STARTING:
        raise ValueError(event.condition)
    if state.condition == Condition.PAUSED and state.condition_since is not None and state.opened is not None:
        # A pause counts neither as elapsed time nor as a stage's time.
        waited = max(0.0, event.time - state.condition_since)
        state.opened += waited
        for stage in state.stages.values():
            if stage.measured_at is not None:
                stage.measured_at += waited
    state.condition, state.condition_since = event.condition, event.time


@_fold.register
def _plan_made(event: PlanMade, state: RunState) -> None:
    state.complexity, state.plan_in_seconds = event.complexity, event.seconds
    plans: dict[str, dict[str, float]] = {}
    for name, cost in event.costs.items():
        stage_name, _, part = name.partition(".")
        plans.setdefault(stage_name, {})[part] = max(0.0, cost)
    for stage in state.stages.values():
        stage.parts = plans.get(stage.name, {"": 0.0}) if plans else stage.parts


@_fold.register
def _stage_started(event: StageStarted, state: RunState) -> None:
    state.stages[event.stage].begin(event.time)
    if not state.attempt_begun:
        state.attempt_begun, state.progress = True, state.share


@_fold.register
def _stage_finished(event: StageFinished, state: RunState) -> None:
    state.stages[event.stage].end(event.time, event.seconds)
    state.progress = max(state.progress, state.share)
    if event.stage in (StageName.SEARCH, StageName.CONSTRAIN):
        for subnetwork in state.subnetworks.values():
            subnetwork.state = StageState.DONE


@_fold.register
def _progress(event: Progress, state: RunState) -> None:
    stage = state.stages[event.stage]
    stage.unit, stage.note = event.unit, event.note
    stage.step, stage.steps = event.step, event.steps
    done = event.done if event.done is not None else event.step / event.steps if event.steps > 0 else 0.0
    stage.report(event.time, event.part, done)
    state.progress = max(state.progress, state.share)


@_fold.register
def _baseline_measured(event: BaselineMeasured, state: RunState) -> None:
    state.baseline = event


@_fold.register
def _network_divided(event: NetworkDivided, state: RunState) -> None:
    state.protected = event.protected
    # A resumed run emits this again: what is known of the same sub-networks stays.
    if [part.name for part in event.subnetworks] != list(state.subnetworks):
        state.subnetworks = {
            part.name: Subnetwork(
                name=part.name,
                layers=part.layers,
                groups=part.groups,
                channels=part.channels,
                macs=part.macs,
                share=part.share,
            )
            for part in event.subnetworks
        }


@_fold.register
def _search_generation(event: SearchGeneration, state: RunState) -> None:
    subnetwork = state.subnetworks[event.subnetwork]
    subnetwork.hypervolumes[event.round, event.generation] = event.hypervolume
    if (event.round, event.generation) < (subnetwork.round, subnetwork.generation):
        return
    subnetwork.state = StageState.RUNNING
    subnetwork.round, subnetwork.generation, subnetwork.generations = event.round, event.generation, event.generations
    subnetwork.hypervolume = event.hypervolume
    subnetwork.front = event.front if event.front is not None else subnetwork.front
    subnetwork.front_size, subnetwork.evaluations = event.front_size, event.evaluations
    subnetwork.evaluations_per_second = event.evaluations_per_second


@_fold.register
def _front_finished(event: FrontFinished, state: RunState) -> None:
    subnetwork = state.subnetworks[event.subnetwork]
    subnetwork.members = event.members
    subnetwork.front = tuple((member.complexity_kept, member.impairment) for member in event.members)
    if event.stage == StageName.CONSTRAIN:
        subnetwork.hypervolume_trained = event.hypervolume
    elif event.hypervolume is not None:
        subnetwork.hypervolume = event.hypervolume
    subnetwork.front_size = len(event.members)
    subnetwork.state = StageState.DONE


@_fold.register
def _epoch(event: Epoch, state: RunState) -> None:
    state.epochs[event.stage, event.subject, event.epoch] = event


@_fold.register
def _ranking_rows(event: RankingRows, state: RunState) -> None:
    for row in event.rows:
        known = state.ranking.get(row.rank)
        uses = known.joint_uses if known else 0
        state.ranking[row.rank] = RankingRow(**msgspec.structs.asdict(row), joint_uses=uses)


@_fold.register
def _joint_generation(event: JointGeneration, state: RunState) -> None:
    joint = state.joint
    joint.hypervolumes[event.generation] = event.hypervolume
    if event.generation < joint.generation:
        return
    joint.generation, joint.generations, joint.hypervolume = event.generation, event.generations, event.hypervolume
    joint.front = event.front if event.front is not None else joint.front
    joint.front_size, joint.evaluations = event.front_size, event.evaluations
    joint.evaluations_per_second = event.evaluations_per_second


@_fold.register
def _joint_finished(event: JointFinished, state: RunState) -> None:
    state.joint.schemes = event.schemes
    state.joint.front = tuple((scheme.complexity_kept, scheme.impairment) for scheme in event.schemes)
    state.joint.front_size = len(event.schemes)
    names = list(state.subnetworks)
    uses: dict[tuple[str, int], int] = {}
    for scheme in event.schemes:
        for name, member in zip(names, scheme.members, strict=False):
            uses[name, member] = uses.get((name, member), 0) + 1
    for row in state.ranking.values():
        row.joint_uses = uses.get((row.subnetwork, row.member), 0)


@_fold.register
def _picks_chosen(event: PicksChosen, state: RunState) -> None:
    for pick in event.picks:
        if pick.name not in state.picks:
            state.picks[pick.name] = Pick(**msgspec.structs.asdict(pick))
    tuning = state.stages[StageName.FINETUNE]
    if event.picks and tuning.state != StageState.RUNNING and "" not in tuning.parts:
        # The plan expects a pick for each rule; two rules may choose the same one, and more may be requested.
        usual = max(tuning.parts.values(), default=0.0)
        tuning.parts = {pick.name: tuning.parts.get(pick.name, usual) for pick in event.picks}


@_fold.register
def _pick_realised(event: PickRealised, state: RunState) -> None:
    pick = state.picks[event.pick]
    pick.macs_kept, pick.params_kept = event.macs_kept, event.params_kept
    pick.accuracy_recalibrated = event.accuracy_recalibrated
    pick.removal_max_difference = event.removal_max_difference


@_fold.register
def _pick_finished(event: PickFinished, state: RunState) -> None:
    pick = state.picks[event.pick]
    pick.accuracy = event.accuracy
    pick.latency_ms, pick.baseline_latency_ms = event.latency_ms, event.baseline_latency_ms
    pick.file = event.file


@_fold.register
def _checkpoint_saved(event: CheckpointSaved, state: RunState) -> None:
    state.checkpoints[event.id] = Checkpoint(
        id=event.id,
        stage=event.stage,
        subnetwork=event.subnetwork,
        generation=event.step,
        bytes=event.bytes,
        saved=event.time,
        reason=event.reason,
    )
    for name in event.removed:
        state.checkpoints.pop(name, None)


@_fold.register
def _checkpoint_damaged(event: CheckpointDamaged, state: RunState) -> None:
    checkpoint = state.checkpoints.get(event.id)
    if checkpoint is not None:
        checkpoint.damaged = True
    state.messages.append(Message(time=event.time, level="warning", text=event.text))


@_fold.register
def _control_answer(event: ControlAnswer, state: RunState) -> None:
    state.controls[event.id] = Control(
        id=event.id,
        command=event.command,
        by=event.by,
        state=event.state,
        message=event.message,
        time=event.time,
    )


@_fold.register
def _message(event: Message, state: RunState) -> None:
    state.messages.append(event)


@_fold.register
def _rewound(event: Rewound, state: RunState) -> None:
    """Drop everything that came after the checkpoint."""
    newest = number_of(event.id)
    state.checkpoints = {key: value for key, value in state.checkpoints.items() if number_of(key) <= newest}
    order = list(StageName)
    current = order.index(event.stage)
    for name in order[current:]:
        state.stages[name] = Stage(name=name, parts=state.stages[name].parts)
    if current <= order.index(StageName.DIVIDE):
        state.subnetworks, state.protected = {}, ()
    for subnetwork in state.subnetworks.values():
        _rewind_search(subnetwork, event, constrained=current > order.index(StageName.SEARCH))
    if current <= order.index(StageName.RANK):
        state.ranking = {}
    if current <= order.index(StageName.JOINT):
        limit = event.step if event.stage == StageName.JOINT else -1
        state.joint = Joint(
            hypervolumes={key: value for key, value in state.joint.hypervolumes.items() if key <= limit}
        )
    if current <= order.index(StageName.REALISE):
        state.picks = {}
    here = (event.stage, event.subnetwork or "")
    state.epochs = {
        key: epoch
        for key, epoch in state.epochs.items()
        if order.index(epoch.stage) < current
        or result_name(epoch.stage, epoch.subject) in event.results
        or ((epoch.stage, epoch.subject) == here and epoch.step <= event.step)
    }


def _rewind_search(subnetwork: Subnetwork, event: Rewound, *, constrained: bool) -> None:
    if front_name(StageName.CONSTRAIN if constrained else StageName.SEARCH, subnetwork.name) in event.results:
        return
    is_here = event.subnetwork == subnetwork.name and event.round == (2 if constrained else 1)
    limit = (event.round, event.step) if is_here else (1, 1 << 60) if constrained else (1, -1)
    hypervolumes = {key: value for key, value in subnetwork.hypervolumes.items() if key <= limit}
    subnetwork.hypervolumes = hypervolumes
    subnetwork.round, subnetwork.generation = max(hypervolumes, default=(1, 0))
    subnetwork.hypervolume = hypervolumes[max(hypervolumes)] if hypervolumes else None
    subnetwork.hypervolume_trained = None
    if not constrained:
        subnetwork.state, subnetwork.front, subnetwork.members = StageState.WAITING, (), ()
        subnetwork.front_size = subnetwork.evaluations = 0
