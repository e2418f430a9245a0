"""RunState: everything that the terminal shows of a run. `fold.py` makes it from the events."""

from collections import deque
from dataclasses import dataclass, field

STAGES = ("baseline", "divide", "search", "constrain", "rank", "joint", "realise", "finetune")
MESSAGES_KEPT = 2000

Point = tuple[float, float]


@dataclass(kw_only=True, slots=True)
class Stage:
    """One step of the method: waiting, running or done; `step` of `steps` in its own unit."""

    name: str
    state: str = "waiting"
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
        if self.state == "done":
            return 1.0
        return min(1.0, self.step / self.steps) if self.steps else 0.0


@dataclass(kw_only=True, slots=True)
class Baseline:
    """The original network: accuracy on the test split (0 to 1), MACs, parameters, latency."""

    accuracy: float
    macs: int
    params: int
    latency_ms: float | None = None
    trained: bool = False


@dataclass(kw_only=True, slots=True)
class Group:
    """A channel group of a sub-network."""

    name: str
    channels: int
    kind: str


@dataclass(kw_only=True, slots=True)
class Member:
    """A front member: complexity kept and local impairment; `kept` has one channel count per group."""

    member: int
    complexity: float
    impairment: float
    kept: tuple[int, ...] = ()


@dataclass(kw_only=True, slots=True)
class Subnetwork:
    """One sub-network and its search so far. `hypervolumes` is keyed by (round, generation)."""

    name: str
    layers: tuple[str, ...]
    groups: tuple[Group, ...]
    channels: int
    macs: int
    share: float
    state: str = "waiting"
    round: int = 1
    generation: int = 0
    generations: int = 0
    hypervolume: float | None = None
    front_size: int = 0
    evaluations: int = 0
    evaluations_per_second: float | None = None
    hypervolumes: dict[tuple[int, int], float] = field(default_factory=dict)
    front: tuple[Point, ...] = ()
    members: tuple[Member, ...] = ()

    @property
    def label(self) -> str:
        """Its layers in short: the first, and the last where there are several."""
        if not self.layers:
            return "-"
        return self.layers[0] if len(self.layers) == 1 else f"{self.layers[0]} … {self.layers[-1]}"


@dataclass(kw_only=True, slots=True)
class RankingRow:
    """One row of the merged ranking (GPIR). Shares and accuracies between 0 and 1."""

    rank: int
    level: int
    subnetwork: str
    member: int
    macs_kept: float
    local_impairment: float
    global_impairment: float
    accuracy_change: float
    kl: float
    joint_uses: int = 0


@dataclass(kw_only=True, slots=True)
class Scheme:
    """A joint scheme: one front position per sub-network, its complexity kept and whole-network impairment.

    `changed` is the number of genes in which polishing made it differ from those members, its nearest.
    """

    scheme: int
    complexity: float
    impairment: float
    members: tuple[int, ...]
    accuracy: float | None = None
    changed: int = 0


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
    """A scheme chosen to be realised, and what became of it."""

    name: str
    scheme: int
    rule: str
    complexity: float
    macs_kept: float | None = None
    params_kept: float | None = None
    accuracy_recalibrated: float | None = None
    accuracy: float | None = None
    removal_max_difference: float | None = None
    latency_ms: float | None = None
    baseline_latency_ms: float | None = None
    file: str | None = None


@dataclass(kw_only=True, slots=True)
class Epoch:
    """One epoch (or block of steps) of a training; accuracy on the validation split, 0 to 1."""

    stage: str
    subject: str
    epoch: int
    epochs: int
    loss: float | None
    accuracy: float | None
    learning_rate: float | None
    step: int = 0


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
    """A control request as the worker answered it: accepted, done or refused."""

    id: str
    command: str
    by: str
    state: str
    message: str
    time: float


@dataclass(kw_only=True, slots=True)
class Message:
    """A line of the log."""

    time: float
    level: str
    text: str
    stage: str | None = None


@dataclass(kw_only=True, slots=True)
class ProtectedPlace:
    """Channels that are left whole, and why."""

    place: str
    channels: int
    reason: str


@dataclass(kw_only=True, slots=True)
class RunState:
    """Everything that the terminal shows of a run. Times are Unix seconds."""

    attempt: int = 0
    pid: int = 0
    host: str = ""
    device: str = ""
    started: float | None = None
    opened: float | None = None
    updated: float | None = None
    events: int = 0
    damaged: int = 0
    condition: str = "starting"
    condition_since: float | None = None
    outcome: str | None = None
    error: str = ""
    hint: str = ""
    earlier_seconds: float = 0.0
    stages: dict[str, Stage] = field(default_factory=lambda: {name: Stage(name=name) for name in STAGES})
    baseline: Baseline | None = None
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
        running = [stage for stage in self.stages.values() if stage.state == "running"]
        done = [stage for stage in self.stages.values() if stage.state == "done"]
        return running[-1] if running else done[-1] if done else None

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
        """Expected time to the end, from the cost done so far; None while nothing can be said."""
        stage = self.stage
        if self.outcome or stage is None or not any(item.cost for item in self.stages.values()):
            return None
        measured = [item for item in self.stages.values() if item.state == "done" and item.cost and item.seconds]
        cost = sum(item.cost for item in measured)
        seconds = sum(item.seconds or 0.0 for item in measured)
        if stage.state == "running" and stage.started is not None and stage.share > 0:
            cost += stage.cost * stage.share
            seconds += max(0.0, now - max(stage.started, self.opened or 0.0))
        if cost <= 0 or seconds <= 0:
            return None
        remaining = sum(item.cost * (1 - item.share) for item in self.stages.values())
        return remaining * seconds / cost
