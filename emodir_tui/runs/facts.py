"""Facts: the events that describe what results hold. Results and checkpoints keep them, so no loss of the log loses them.

A file that is renamed into place survives a power cut that takes the last seconds of the log. So whoever finds a result
on disk emits the facts that the log lacks.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

from msgspec.structs import replace

from emodir_tui.runs.event_types import (
    BaselineMeasured,
    Epoch,
    Event,
    Fact,
    FrontFinished,
    JointFinished,
    JointGeneration,
    NetworkDivided,
    PickFinished,
    PickRealised,
    PicksChosen,
    RankingRows,
    Rewound,
    SearchGeneration,
)
from emodir_tui.runs.events import decode, encode
from emodir_tui.runs.names import StageName

_STAGES: dict[type[Fact], StageName] = {
    BaselineMeasured: StageName.BASELINE,
    NetworkDivided: StageName.DIVIDE,
    RankingRows: StageName.RANK,
    JointGeneration: StageName.JOINT,
    JointFinished: StageName.JOINT,
    PicksChosen: StageName.REALISE,
    PickRealised: StageName.REALISE,
    PickFinished: StageName.FINETUNE,
}
_ORDER = list(StageName)


class Facts:
    """The facts that are in the log, and those of the results that are being made."""

    def __init__(self) -> None:
        self._logged: dict[bytes, StageName] = {}
        self._gap = False
        # Lines of facts, the innermost result last; each is a dictionary, for the order and without repetitions.
        self._open: list[dict[bytes, None]] = []

    def read_log(self, events: Iterable[Event]) -> Iterator[Event]:
        """Take note of the log's facts while its events pass through."""
        for event in events:
            if isinstance(event, Fact):
                self._logged[_digest(_line(event))] = _stage(event)
            elif isinstance(event, Rewound):
                self.rewind(event.stage)
            yield event

    def rewind(self, stage: StageName) -> None:
        """Count the facts of this stage and of later ones as lost, since readers drop what came after the checkpoint."""
        first = _ORDER.index(stage)
        self._logged = {key: known for key, known in self._logged.items() if _ORDER.index(known) < first}

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Collect the facts of a result while it is made; they belong to the result around it too."""
        facts: dict[bytes, None] = {}
        self._open.append(facts)
        try:
            yield
        finally:
            self._open.pop()
            if self._open:
                self._open[-1].update(facts)

    def note(self, event: Event) -> None:
        """Take note of an event that is emitted."""
        if isinstance(event, Fact) and self._open:
            self._open[-1][_line(event)] = None

    def packed(self) -> bytes:
        """The facts of the innermost result so far, as lines of JSON; the same run gives the same bytes."""
        return b"".join(self._open[-1]) if self._open else b""

    def unlogged(self, packed: bytes) -> Iterator[Fact]:
        """The facts of a result or checkpoint on disk that must be emitted; the others are taken note of.

        From the first one that the log lacks all are emitted, since later facts may replace earlier ones.
        """
        for line in packed.splitlines():
            fact = decode(line)
            if not isinstance(fact, Fact):
                continue
            self._gap = self._gap or _digest(_line(fact)) not in self._logged
            if self._gap:
                yield fact
            else:
                self.note(fact)


def _line(fact: Fact) -> bytes:
    """The fact as a line of JSON, without what differs from one try of a run to the next."""
    return encode(replace(fact, seq=0, time=0.0, **dict.fromkeys(fact.varying)))


def _stage(fact: Fact) -> StageName:
    if isinstance(fact, SearchGeneration):
        return StageName.SEARCH if fact.round == 1 else StageName.CONSTRAIN
    return fact.stage if isinstance(fact, FrontFinished | Epoch) else _STAGES[type(fact)]


def _digest(line: bytes) -> bytes:
    return blake2b(line, digest_size=16).digest()
