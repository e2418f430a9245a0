"""The event protocol: one record for each kind of event that a worker emits and everybody else reads.

A record is emitted, written as a line of JSON, folded into the run's state, narrated and mirrored, always as
this same type. `tag` is the kind's name on disk.
"""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from emodir_tui.runs.names import AnswerState, Complexity, Condition, Outcome, StageName

VERSION = 1
# A larger number in a log is damage, and arithmetic on it would fail.
LARGEST, LARGEST_INTEGER = 1e100, 1 << 53
# Seconds since 1970; in the year 33658.
LATEST = 1e12

Number = Annotated[float, Meta(gt=-LARGEST, lt=LARGEST)]
Integer = Annotated[int, Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
Time = Annotated[float, Meta(ge=0, lt=LATEST)]
Point = tuple[Number, Number]


class Event(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What all events have. The writer sets number and time; before that they are negative."""

    v: int = VERSION
    seq: int = -1
    time: Time = -1.0

    @property
    def kind(self) -> str:
        """The kind's name on disk."""
        return str(self.__struct_config__.tag)


class Fact(Event, frozen=True, kw_only=True):
    """An event that describes what a result holds. Results keep their facts, and a log that lost them gets them again."""

    # Optional fields that differ from one try of a run to the next.
    varying: ClassVar[tuple[str, ...]] = ()


class Undeclared(Event, frozen=True, kw_only=True, tag="undeclared"):
    """A line that has a number, a time and a kind, but no record: of a newer version, or `damaged`."""

    name: str
    damaged: bool

    @property
    def kind(self) -> str:
        """The kind's name on disk."""
        return self.name


# ---- the run


class RunOpened(Event, frozen=True, kw_only=True, tag="run_opened"):
    """A worker is ready."""

    attempt: Integer
    pid: Integer
    host: str
    device: str = ""


class RunClosed(Event, frozen=True, kw_only=True, tag="run_closed"):
    """An attempt has ended; `code` is the exit code of an error."""

    outcome: Outcome
    error: str = ""
    hint: str = ""
    code: Integer | None = None


class ConditionChanged(Event, frozen=True, kw_only=True, tag="condition_changed"):
    """The worker runs, pauses or stops from now on."""

    condition: Condition


class PlanMade(Event, frozen=True, kw_only=True, tag="plan_made"):
    """Expected cost of each part of each stage, and the complexity whose kept share is reported.

    Keys are `search.sn1`, or `rank` for a stage in one part; they stand in the order of the work. Costs are seconds where
    `seconds` says so, else of any unit.
    """

    costs: dict[str, Number]
    complexity: Complexity
    seconds: bool = False


class StageStarted(Event, frozen=True, kw_only=True, tag="stage_started"):
    """A stage begins."""

    stage: StageName


class StageFinished(Event, frozen=True, kw_only=True, tag="stage_finished"):
    """A stage's result is on disk."""

    stage: StageName
    seconds: Number


class Progress(Event, frozen=True, kw_only=True, tag="progress"):
    """A stage has done `step` of `steps`, each a `unit`; `note` names the part that it works on.

    `part` is that part's name in the plan, and `done` the share of it that is done, 0 to 1; the step's share by default.
    """

    stage: StageName
    step: Integer
    steps: Integer
    unit: str = ""
    note: str = ""
    part: str = ""
    done: Number | None = None


class Message(Event, frozen=True, kw_only=True, tag="message"):
    """A line of the log; level is debug, info, warning or error."""

    level: str
    text: str
    stage: str | None = None


class CheckpointSaved(Event, frozen=True, kw_only=True, tag="checkpoint_saved"):
    """A moment inside a stage is on disk; older checkpoints were removed for it."""

    id: str
    stage: str
    subnetwork: str | None = None
    step: Integer
    bytes: Integer
    reason: str
    seconds: Number = 0.0
    removed: tuple[str, ...] = ()


class CheckpointDamaged(Event, frozen=True, kw_only=True, tag="checkpoint_damaged"):
    """A checkpoint could not be read."""

    id: str
    text: str


class Rewound(Event, frozen=True, kw_only=True, tag="rewound"):
    """The run went back to a checkpoint; `results` are those that it keeps."""

    id: str
    stage: StageName
    subnetwork: str | None = None
    round: Integer
    step: Integer
    results: tuple[str, ...]


class ControlAnswer(Event, frozen=True, kw_only=True, tag="control_answer"):
    """What the three answers to a control request have."""

    state: ClassVar[AnswerState]

    id: str
    command: str
    by: str = ""
    message: str = ""


class ControlAccepted(ControlAnswer, frozen=True, kw_only=True, tag="control_accepted"):
    """The request will be obeyed."""

    state = AnswerState.ACCEPTED


class ControlDone(ControlAnswer, frozen=True, kw_only=True, tag="control_done"):
    """The request was obeyed."""

    state = AnswerState.DONE


class ControlRefused(ControlAnswer, frozen=True, kw_only=True, tag="control_refused"):
    """The request cannot be obeyed; `message` gives the reason."""

    state = AnswerState.REFUSED


# ---- the network and its division


class BaselineMeasured(Fact, frozen=True, kw_only=True, tag="baseline_measured"):
    """The original network: accuracy on the test split (0 to 1), MACs, parameters, latency of a batch in ms."""

    accuracy: Number
    macs: Integer
    params: Integer
    latency_ms: Number | None = None


class Group(Struct, frozen=True, kw_only=True):
    """A channel group of a sub-network."""

    name: str
    channels: Integer
    kind: str


class Part(Struct, frozen=True, kw_only=True):
    """A sub-network as the division made it; `share` of the network's MACs."""

    name: str
    layers: tuple[str, ...]
    groups: tuple[Group, ...]
    channels: Integer
    macs: Integer
    share: Number


class ProtectedPlace(Struct, frozen=True, kw_only=True):
    """Channels that are never pruned, and why."""

    place: str
    channels: Integer
    reason: str


class NetworkDivided(Fact, frozen=True, kw_only=True, tag="network_divided"):
    """The sub-networks, and the channels that are never pruned."""

    subnetworks: tuple[Part, ...]
    protected: tuple[ProtectedPlace, ...] = ()


# ---- searches and trainings


class SearchGeneration(Fact, frozen=True, kw_only=True, tag="search_generation"):
    """A generation of a sub-network's search; `front` has (complexity kept, impairment) of the members."""

    varying = ("evaluations_per_second",)

    subnetwork: str
    round: Integer
    generation: Integer
    generations: Integer
    hypervolume: Number
    front_size: Integer
    evaluations: Integer
    evaluations_per_second: Number | None = None
    front: tuple[Point, ...] | None = None


class Member(Struct, frozen=True, kw_only=True):
    """A front member: share of its sub-network's complexity kept, local impairment, channels kept in each group."""

    member: Integer
    complexity_kept: Number
    impairment: Number
    kept: tuple[Integer, ...] = ()


class FrontFinished(Fact, frozen=True, kw_only=True, tag="front_finished"):
    """A sub-network's front: `stage` found it (search), or measured it with the trained weights (constrain)."""

    subnetwork: str
    members: tuple[Member, ...]
    hypervolume: Number | None = None
    stage: StageName = StageName.SEARCH
    evaluations: Integer | None = None


class Epoch(Fact, frozen=True, kw_only=True, tag="epoch"):
    """An epoch (or block of steps) of a training; accuracy on the validation split, 0 to 1."""

    stage: StageName
    subject: str = ""
    epoch: Integer
    epochs: Integer
    step: Integer = 0
    loss: Number | None = None
    accuracy: Number | None = None
    learning_rate: Number | None = None


class RankedMember(Struct, frozen=True, kw_only=True):
    """A row of the merged ranking (GPIR). Shares and accuracies 0 to 1; the share is of the searched complexity."""

    rank: Integer
    level: Integer
    complexity_kept: Number
    subnetwork: str
    member: Integer
    local_impairment: Number
    global_impairment: Number
    accuracy_change: Number
    kl: Number


class RankingRows(Fact, frozen=True, kw_only=True, tag="ranking_rows"):
    """Some rows of the ranking."""

    rows: tuple[RankedMember, ...]


class JointGeneration(Fact, frozen=True, kw_only=True, tag="joint_generation"):
    """A generation of the joint search; `front` has (complexity kept, impairment) of the schemes."""

    varying = ("evaluations_per_second",)

    generation: Integer
    generations: Integer
    hypervolume: Number
    front_size: Integer
    evaluations: Integer
    evaluations_per_second: Number | None = None
    front: tuple[Point, ...] | None = None


class Scheme(Struct, frozen=True, kw_only=True):
    """A joint scheme: one front position for each sub-network, and what the whole network keeps and loses.

    `changed` is the number of genes in which polishing made it differ from those members, its nearest.
    """

    scheme: Integer
    complexity_kept: Number
    impairment: Number
    members: tuple[Integer, ...]
    changed: Integer = 0
    accuracy: Number | None = None


class JointFinished(Fact, frozen=True, kw_only=True, tag="joint_finished"):
    """The joint front."""

    schemes: tuple[Scheme, ...]
    fronts: tuple[str, ...] = ()
    original_accuracy: Number | None = None
    hypervolume: Number | None = None


# ---- picks


class ChosenPick(Struct, frozen=True, kw_only=True):
    """A scheme that will be realised, and the rule that chose it."""

    name: str
    scheme: Integer
    rule: str
    complexity_kept: Number


class PicksChosen(Fact, frozen=True, kw_only=True, tag="picks_chosen"):
    """The schemes that will be realised."""

    picks: tuple[ChosenPick, ...]


class PickRealised(Fact, frozen=True, kw_only=True, tag="pick_realised"):
    """A pick's channels are removed. Shares and accuracy 0 to 1."""

    pick: str
    macs_kept: Number | None = None
    params_kept: Number | None = None
    accuracy_recalibrated: Number | None = None
    removal_max_difference: Number | None = None


class PickFinished(Fact, frozen=True, kw_only=True, tag="pick_finished"):
    """A pick is fine-tuned, measured, and its file written."""

    pick: str
    accuracy: Number | None = None
    macs_kept: Number | None = None
    latency_ms: Number | None = None
    baseline_latency_ms: Number | None = None
    file: str
