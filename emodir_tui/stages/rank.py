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
    """Place each member alone into the network, measure the damage to the output, and rank all members."""
    work = partial(_rank_in_batches, run, bench, original, parts, adapted)
    return with_batch_backoff(run, StageName.RANK, bench.profile.rank.batch, work)


def _rank_in_batches(run: Run, bench: Bench, original: Original, parts: Parts, adapted: Adapted, batch: int) -> Ranking:
    problem = NetworkProblem(
        bench,
        bench.graph(original.weights),
        bench.graph(adapted.weights),
        bench.division(parts.cuts),
        bench.complexity(original.latencies),
        bench.batches(bench.data.search, bench.profile.rank.images, batch),
    )
    importance = run.load_part(result_name(StageName.SEARCH, IMPORTANCE), Importance).values
    fronts = members_of(bench, problem.graph, problem.division, adapted.fronts, importance)
    place = Place(stage=StageName.RANK)
    ranking = run.resume_point(place, Ranking) or Ranking(rows=[])
    todo = [(front, member) for front in fronts for member in range(len(front.keep_vectors))]
    while len(ranking.rows) < len(todo):
        some = todo[len(ranking.rows) : len(ranking.rows) + ROWS_AT_ONCE]
        ranking = Ranking(rows=[*ranking.rows, *_place_alone(run, problem, some)])
        done, name = len(ranking.rows), some[-1][0].name
        progress = Progress(stage=StageName.RANK, step=done, steps=len(todo), unit="member", note=name)
        _advance(run, place, ranking, progress)
    _publish(run, ranking)
    return ranking


def _advance(run: Run, place: Place, ranking: Ranking, progress: Progress) -> None:
    run.advance(place, len(ranking.rows), lambda: ranking, [progress])


def _place_alone(run: Run, problem: NetworkProblem, places: list[tuple[FrontMembers, int]]) -> list[MeasuredMember]:
    keep_vectors = np.stack([front.keep_vectors[member] for front, member in places])
    kept = problem.complexity(keep_vectors)
    return [
        MeasuredMember(
            subnetwork=front.name,
            member=member,
            complexity_kept=float(share),
            local_impairment=float(front.local_impairments[member]),
            global_impairment=impairment.features,
            accuracy_change=impairment.accuracy - problem.original_accuracy,
            kl=impairment.kl,
        )
        for (front, member), share, impairment in zip(
            places, kept, problem.global_impairments(keep_vectors, run.check), strict=True
        )
    ]


def _publish(run: Run, ranking: Ranking) -> None:
    rows = tuple(
        RankedMember(rank=place.rank, level=place.level, **asdict(place.row)) for place in rank_members(ranking.rows)
    )
    for start in range(0, len(rows), ROWS_PER_EVENT):
        run.emit(RankingRows(rows=rows[start : start + ROWS_PER_EVENT]))
    published = {"schema": 1, "complexity": run.profile.complexity.kind, "rows": [structs.asdict(row) for row in rows]}
    run.publish("ranking", published)
