"""The expected time to the end of a run: what the plan expects, corrected by how long the work so far took."""

from emodir_tui.runs.names import Condition, StageState, StatusWord
from emodir_tui.runs.stage import Stage
from emodir_tui.runs.state import RunState

# Share of the plan, or seconds of it, that must be done before an estimate means something.
ENOUGH, ENOUGH_SECONDS = 0.02, 30.0
# How much work counts as much as the plan does: as a share of the whole plan, and of a stage for the stage's own speed.
PLAN, OWN = 0.2, 0.2


def eta_seconds(state: RunState, word: str, now: float) -> float | None:
    """Seconds of work that are left; None for a run that does not advance, or of which too little is measured.

    Args:
        state: The run's state.
        word: Its status.
        now: The time, in Unix seconds.
    """
    current = state.stage
    if word not in (StatusWord.RUNNING, StatusWord.NO_PROGRESS) or state.condition != Condition.RUNNING:
        return None
    if current is None:
        return None
    stages = state.stages.values()
    total = sum(stage.cost for stage in stages)
    cost, seconds = sum(stage.worked_cost for stage in stages), sum(stage.worked_seconds for stage in stages)
    enough = min(ENOUGH * total, ENOUGH_SECONDS) if state.plan_in_seconds else ENOUGH * total
    if seconds <= 0 or cost <= 0 or cost < enough:
        return None
    plan = PLAN * total if state.plan_in_seconds else 0.0
    speed = (seconds + plan) / (cost + plan)
    left = sum(_left(stage, speed) for stage in stages if stage is not current)
    # Between two reports the time runs down, to what comes after this stage.
    since = now - current.measured_at if current.measured_at is not None else 0.0
    return left + max(0.0, _left(current, speed) - max(0.0, since))


def _left(stage: Stage, speed: float) -> float:
    """Seconds left of a stage, where `speed` is the time that a unit of cost takes in general."""
    if stage.state == StageState.DONE:
        return 0.0
    own = OWN * stage.cost
    if own:
        # Where some parts ended early, others probably will.
        speed = (stage.worked_seconds + own * speed) / (stage.worked_cost + stage.skipped_cost + own)
    return speed * stage.cost * (1 - stage.share)
