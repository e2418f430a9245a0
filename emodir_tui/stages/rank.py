"""Step 5: the global performance impairment ranking (GPIR) of all members of all fronts."""

from dataclasses import asdict
from functools import partial

import numpy as np
from msgspec import structs

from emodir_tui.bench import Bench
from emodir_tui.emo.gpir import MeasuredMember, rank_members
from emodir_tui.problems.members import FrontMembers, members_of
from emodir_tui.problems.network import NetworkProblem
from emodir_tui.results import Adapted, Importance, Original, Parts, Ranking
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.event_types import Progress, RankedMember, RankingRows
from emodir_tui.runs.names import IMPORTANCE, StageName, result_name
from emodir_tui.runs.run import Run, step
from emodir_tui.stages.support.batch_backoff import with_batch_backoff

ROWS_PER_EVENT = 200
ROWS_AT_ONCE = 10


@step(StageName.RANK, Ranking)
def rank(run: Run, bench: Bench, original: Original, parts: Parts, adapted: Adapted) -> Ranking:
    """Place each member alone, measure what it does to the whole network, and rank all of them."""
    return with_batch_backoff(run, "rank", lambda batch: _rank_in_batches(run, bench, original, parts, adapted, batch))


def _rank_in_batches(run: Run, bench: Bench, original: Original, parts: Parts, adapted: Adapted, batch: int) -> Ranking:
    settings = bench.profile.rank
    whole = NetworkProblem(bench, original.weights, adapted, parts, settings.images, batch)
    importance = run.load_part(result_name(StageName.SEARCH, IMPORTANCE), Importance).values
    fronts = members_of(bench, whole.graph, whole.division, adapted.fronts, importance)
    place = Place(stage=StageName.RANK)
    ranking = run.resume_point(place, Ranking) or Ranking(rows=[])
    todo = [(front, member) for front in fronts for member in range(len(front.keep_vectors))]
    while len(ranking.rows) < len(todo):
        some = todo[len(ranking.rows) : len(ranking.rows) + ROWS_AT_ONCE]
        ranking = Ranking(rows=[*ranking.rows, *_place_alone(run, whole, some)])
        done = len(ranking.rows)
        name = some[-1][0].name
        progress = Progress(stage=StageName.RANK, step=done, steps=len(todo), unit="member", note=name)
        run.advance(place, done, partial(_same, ranking), [progress])
    _tell(run, ranking)
    return ranking


def _place_alone(run: Run, whole: NetworkProblem, places: list[tuple[FrontMembers, int]]) -> list[MeasuredMember]:
    keep_vectors = np.stack([front.keep_vectors[member] for front, member in places])
    kept = whole.complexity(keep_vectors)
    return [
        MeasuredMember(
            subnetwork=front.name,
            member=member,
            complexity_kept=float(share),
            local_impairment=float(front.local_impairments[member]),
            global_impairment=damage.features,
            accuracy_change=damage.accuracy - whole.original_accuracy,
            kl=damage.kl,
        )
        for (front, member), share, damage in zip(
            places, kept, whole.global_impairments(keep_vectors, run.check), strict=True
        )
    ]


def _tell(run: Run, ranking: Ranking) -> None:
    rows = tuple(
        RankedMember(rank=place.rank, level=place.level, **asdict(place.row)) for place in rank_members(ranking.rows)
    )
    for start in range(0, len(rows), ROWS_PER_EVENT):
        run.emit(RankingRows(rows=rows[start : start + ROWS_PER_EVENT]))
    published = {"schema": 1, "complexity": run.profile.complexity.kind, "rows": [structs.asdict(row) for row in rows]}
    run.publish("ranking", published)


def _same(ranking: Ranking) -> Ranking:
    return ranking
