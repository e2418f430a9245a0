"""RunState: everything that the terminal shows of a run. `fold.py` makes it from the events."""

from collections import deque
from dataclasses import dataclass, field

from emodir_tui.runs.event_types import (
    BaselineMeasured,
    Epoch,
    Group,
    Member,
    Message,
    Point,
    ProtectedPlace,
    Scheme,
)
from emodir_tui.runs.names import AnswerState, Complexity, Condition, Outcome, StageName, StageState

MESSAGES_KEPT = 2000


@dataclass(kw_only=True, slots=True)
class Stage:
    """One step of the method; `step` of `steps` in its own unit."""

    name: StageName
    state: StageState = StageState.WAITING
    step: int = 0
    steps: int = 0
    unit: str = ""
    started: float | None = None
    seconds: float | None = None
    cost: float = 0.0
    note: str = ""

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        if self.state == StageState.DONE:
            return 1.0
        return min(1.0, self.step / self.steps) if self.steps else 0.0


@dataclass(kw_only=True, slots=True)
class Subnetwork:
    """One sub-network and its search so far. `hypervolumes` is keyed by (round, generation).

    `hypervolume` is the newest of these. `hypervolume_trained` is that of its front as measured again with the trained
    weights; values under different weights cannot be compared.
    """

    name: str
    layers: tuple[str, ...]
    groups: tuple[Group, ...]
    channels: int
    macs: int
    share: float
    state: StageState = StageState.WAITING
    round: int = 1
    generation: int = 0
    generations: int = 0
    hypervolume: float | None = None
    hypervolume_trained: float | None = None
    front_size: int = 0
    evaluations: int = 0
    evaluations_per_second: float | None = None
    hypervolumes: dict[tuple[int, int], float] = field(default_factory=dict)
    front: tuple[Point, ...] = ()
    members: tuple[Member, ...] = ()


@dataclass(kw_only=True, slots=True)
class RankingRow:
    """One row of the merged ranking (GPIR): a RankedMember, and how many joint schemes use it."""

    rank: int
    level: int
    complexity_kept: float
    subnetwork: str
    member: int
    local_impairment: float
    global_impairment: float
    accuracy_change: float
    kl: float
    joint_uses: int = 0

    @property
    def price(self) -> float | None:
        """Global impairment per share of complexity saved, by which a level is ordered; None if nothing is saved."""
        saved = 1.0 - self.complexity_kept
        return self.global_impairment / saved if saved > 0 else None


@dataclass(kw_only=True, slots=True)
class Joint:
    """The joint search. `hypervolumes` is keyed by generation."""

    generation: int = 0
    generations: int = 0
    hypervolume: float | None = None
    front_size: int = 0
    evaluations: int = 0
    evaluations_per_second: float | None = None
    hypervolumes: dict[int, float] = field(default_factory=dict)
    front: tuple[Point, ...] = ()
    schemes: tuple[Scheme, ...] = ()


@dataclass(kw_only=True, slots=True)
class Pick:
    """A scheme chosen to be realised, and its results."""

    name: str
    scheme: int
    rule: str
    complexity_kept: float
    macs_kept: float | None = None
    params_kept: float | None = None
    accuracy_recalibrated: float | None = None
    accuracy: float | None = None
    removal_max_difference: float | None = None
    latency_ms: float | None = None
    baseline_latency_ms: float | None = None
    file: str | None = None

    @property
    def satisfies_rule(self) -> bool:
        """Whether the realised network is within its rule's limit, as far as it was measured."""
        name, _, limit = self.rule.partition("=")
        measured = {"max_macs": self.macs_kept, "max_params": self.params_kept, "max_latency_ms": self.latency_ms}
        value = measured.get(name)
        try:
            return value is None or value <= float(limit)
        except ValueError:
            return False


@dataclass(kw_only=True, slots=True)
class Checkpoint:
    """A saved moment inside a stage."""

    id: str
    stage: str
    subnetwork: str | None
    generation: int
    bytes: int
    saved: float
    reason: str
    damaged: bool = False


@dataclass(kw_only=True, slots=True)
class Control:
    """A control request as the worker answered it."""

    id: str
    command: str
    by: str
    state: AnswerState
    message: str
    time: float


@dataclass(kw_only=True, slots=True)
class RunState:
    """Everything that the terminal shows of a run. Times are Unix seconds; `complexity` is the measure searched."""

    attempt: int = 0
    pid: int = 0
    host: str = ""
    device: str = ""
    started: float | None = None
    opened: float | None = None
    updated: float | None = None
    events: int = 0
    damaged: int = 0
    condition: Condition | Outcome = Condition.STARTING
    condition_since: float | None = None
    outcome: Outcome | None = None
    error: str = ""
    hint: str = ""
    earlier_seconds: float = 0.0
    complexity: Complexity = Complexity.MACS
    stages: dict[StageName, Stage] = field(default_factory=lambda: {name: Stage(name=name) for name in StageName})
    baseline: BaselineMeasured | None = None
    subnetworks: dict[str, Subnetwork] = field(default_factory=dict)
    protected: tuple[ProtectedPlace, ...] = ()
    ranking: dict[int, RankingRow] = field(default_factory=dict)
    joint: Joint = field(default_factory=Joint)
    picks: dict[str, Pick] = field(default_factory=dict)
    epochs: dict[tuple[str, str, int], Epoch] = field(default_factory=dict)
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    controls: dict[str, Control] = field(default_factory=dict)
    messages: deque[Message] = field(default_factory=lambda: deque(maxlen=MESSAGES_KEPT))

    @property
    def stage(self) -> Stage | None:
        """The stage in progress, or the last one that is done, or None before the first."""
        running = [stage for stage in self.stages.values() if stage.state == StageState.RUNNING]
        done = [stage for stage in self.stages.values() if stage.state == StageState.DONE]
        return running[-1] if running else done[-1] if done else None

    @property
    def best_pick(self) -> Pick | None:
        """The most accurate finished pick of those that satisfy their rule; of equally accurate ones the smallest."""
        candidates = [
            (pick.accuracy, -pick.complexity_kept, pick) for pick in self.picks.values() if pick.satisfies_rule
        ]
        finished = [(accuracy, small, pick) for accuracy, small, pick in candidates if accuracy is not None]
        return max(finished, key=lambda item: item[:2])[2] if finished else None

    @property
    def progress(self) -> float:
        """How much of the whole run is done, 0 to 1, weighted by the stages' expected cost."""
        costs = {name: stage.cost or 1.0 for name, stage in self.stages.items()}
        total = sum(costs.values())
        return sum(costs[name] * stage.share for name, stage in self.stages.items()) / total

    def elapsed_seconds(self, now: float) -> float:
        """Time that workers spent on this run, all attempts together."""
        if self.opened is None:
            return 0.0
        end = (self.updated or now) if self.outcome else now
        return self.earlier_seconds + max(0.0, end - self.opened)

    def eta_seconds(self, now: float) -> float | None:
        """Expected time to the end, from the cost done so far; None while it is unknown."""
        stage = self.stage
        if self.outcome or stage is None or not any(item.cost for item in self.stages.values()):
            return None
        measured = [
            item for item in self.stages.values() if item.state == StageState.DONE and item.cost and item.seconds
        ]
        cost = sum(item.cost for item in measured)
        seconds = sum(item.seconds or 0.0 for item in measured)
        if stage.state == StageState.RUNNING and stage.started is not None and stage.share > 0:
            cost += stage.cost * stage.share
            seconds += max(0.0, now - max(stage.started, self.opened or 0.0))
        if cost <= 0 or seconds <= 0:
            return None
        remaining = sum(item.cost * (1 - item.share) for item in self.stages.values())
        return remaining * seconds / cost
