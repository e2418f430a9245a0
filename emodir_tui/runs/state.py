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
from emodir_tui.runs.stage import Stage

MESSAGES_KEPT = 2000


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
    """Everything that the terminal shows of a run. Times are Unix seconds; `complexity` is the measure searched.

    `progress` is the largest share of the work that was done in this attempt, 0 to 1, and never falls within one.
    `attempt_begun` says whether one of the attempt's stages has started. `plan_in_seconds`: whether costs are seconds.
    """

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
    plan_in_seconds: bool = False
    progress: float = 0.0
    attempt_begun: bool = False
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
    def has_all_results(self) -> bool:
        """Whether all results of a finished run are in its log; a crash may have taken a part of it."""
        parts = (self.baseline, self.subnetworks, self.ranking, self.joint.schemes, self.picks)
        return all(parts) and all(pick.file for pick in self.picks.values())

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
    def share(self) -> float:
        """How much of the work is done, 0 to 1, weighted by the stages' expected cost."""
        total = sum(stage.cost for stage in self.stages.values())
        return sum(stage.cost * stage.share for stage in self.stages.values()) / total if total else 0.0

    def elapsed_seconds(self, now: float) -> float:
        """Time that workers spent on this run, all attempts together, without pauses."""
        if self.opened is None:
            return 0.0
        end = (self.updated or now) if self.outcome else now
        if self.condition == Condition.PAUSED and self.condition_since is not None:
            end = self.condition_since
        return self.earlier_seconds + max(0.0, end - self.opened)
