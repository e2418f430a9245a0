"""A step of the method as the events describe it: where it is, and how long its parts take against the plan."""

from dataclasses import dataclass, field

from emodir_tui.runs.names import StageName, StageState


@dataclass(kw_only=True, slots=True)
class Stage:
    """One step of the method; `step` of `steps` in its own unit.

    Attributes:
        parts: The expected cost of each part, in the order of the work.
        part: The part in progress.
        part_share: How much of that part is done, 0 to 1.
        measured_at: When `part_share` was reported; None where the time since then says nothing.
        worked_seconds: Time from report to report, all attempts together, without pauses.
        worked_cost: Expected cost of what was done in that time.
        skipped_cost: Expected cost of what was not done, because a part ended early.
    """

    name: StageName
    state: StageState = StageState.WAITING
    step: int = 0
    steps: int = 0
    unit: str = ""
    seconds: float | None = None
    note: str = ""
    parts: dict[str, float] = field(default_factory=lambda: {"": 1.0})
    part: str = ""
    part_share: float = 0.0
    measured_at: float | None = None
    worked_seconds: float = 0.0
    worked_cost: float = 0.0
    skipped_cost: float = 0.0

    @property
    def cost(self) -> float:
        """The expected cost of the whole stage."""
        return sum(self.parts.values())

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1; parts that were ended early or skipped count as done."""
        if self.state == StageState.DONE:
            return 1.0
        if self.part not in self.parts or not self.cost:
            return self.part_share
        names = list(self.parts)
        before = sum(self.parts[name] for name in names[: names.index(self.part)])
        return (before + self.parts[self.part] * self.part_share) / self.cost

    def begin(self, time: float) -> None:
        """It starts now; one that was begun before continues at a checkpoint."""
        # In that case nothing is known of its speed up to the first report.
        self.measured_at = time if self.state == StageState.WAITING else None
        self.state, self.seconds = StageState.RUNNING, None
        self.step = self.steps = 0
        self.part, self.part_share = next(iter(self.parts)), 0.0

    def report(self, time: float, part: str, share: float) -> None:
        """So much of a part is done now."""
        known = self.part_share
        if part != self.part:
            if self.measured_at is not None:
                self.skipped_cost += self.parts.get(self.part, 0.0) * (1 - known)
            known = 0.0
        self.part, self.part_share = part, min(1.0, max(0.0, share))
        self._count(time, self.parts.get(part, 0.0) * max(0.0, self.part_share - known))
        self.measured_at = time

    def end(self, time: float, seconds: float) -> None:
        """It is done now, after so many seconds."""
        names = list(self.parts)
        later = names[names.index(self.part) + 1 :] if self.part in names else []
        self._count(time, sum(self.parts[name] for name in later))
        self.state, self.seconds, self.measured_at = StageState.DONE, seconds, None

    def _count(self, time: float, cost: float) -> None:
        """Count the time since the last report, and the expected cost of what was done in it."""
        if self.measured_at is not None:
            self.worked_seconds += max(0.0, time - self.measured_at)
            self.worked_cost += cost
