"""The words that runs write to disk: stages, states, outcomes, commands, and the names of results."""

from enum import StrEnum


class StageName(StrEnum):
    """The eight steps of the method, in their order."""

    BASELINE = "baseline"
    DIVIDE = "divide"
    SEARCH = "search"
    CONSTRAIN = "constrain"
    RANK = "rank"
    JOINT = "joint"
    REALISE = "realise"
    FINETUNE = "finetune"

    @property
    def numbered(self) -> str:
        """Its name with its number, such as `3/8 search`."""
        order = list(StageName)
        return f"{order.index(self) + 1}/{len(order)} {self.value}"


class StageState(StrEnum):
    """Where a stage, or a sub-network's search, stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


class Condition(StrEnum):
    """The condition of a worker, as its own events give it."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"


class Outcome(StrEnum):
    """How an attempt ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class StatusWord(StrEnum):
    """A run's status, derived from its events, heartbeat and process."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    NO_PROGRESS = "no-progress"
    UNSURE = "unsure"
    LOST = "lost"
    FAILED = "failed"
    STOPPED = "stopped"
    FINISHED = "finished"


class Command(StrEnum):
    """Control requests that a worker obeys."""

    SAVE = "save"
    PAUSE = "pause"
    CONTINUE = "continue"
    STOP = "stop"
    STOP_NOW = "stop-now"
    REALISE = "realise"


class AnswerState(StrEnum):
    """The worker's answer to a control request."""

    ACCEPTED = "accepted"
    DONE = "done"
    REFUSED = "refused"


class Complexity(StrEnum):
    """The measure that a run searches and whose kept share it reports."""

    MACS = "macs"
    PARAMS = "params"
    LATENCY = "latency"

    @property
    def unit(self) -> str:
        """Its word in tables and sentences: "MACs", "parameters" or "latency"."""
        return {Complexity.MACS: "MACs", Complexity.PARAMS: "parameters", Complexity.LATENCY: "latency"}[self]


CHAIN = "chain"
IMPORTANCE = "importance"
# Parts of stages in the plan of a run.
FRONTS = "fronts"
PICKS = "picks"
POSITIONS, POLISH, ACCURACIES = "positions", "polish", "accuracies"
_FRONT = "front."


def result_name(stage: StageName, subject: str = "") -> str:
    """The name under which a stage's result is kept; with a subject, that of a part: `search.sn1`, `finetune.knee`.

    Plans name the parts of stages likewise.
    """
    return f"{stage}.{subject}" if subject else stage.value


def front_name(stage: StageName, subnetwork: str) -> str:
    """The name of a sub-network's front, as `search` found it or as `constrain` measured it with trained weights."""
    return result_name(stage, subnetwork if stage == StageName.SEARCH else f"{_FRONT}{subnetwork}")


def split_result_name(name: str) -> tuple[str, str]:
    """Stage and subject of a result; the subject of a front is its sub-network, that of a whole stage is empty."""
    stage, _, subject = name.partition(".")
    return stage, subject.removeprefix(_FRONT) if stage == StageName.CONSTRAIN else subject
