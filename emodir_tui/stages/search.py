"""Step 3: the Pareto front of each sub-network, by NSGA-II on its original features."""

from functools import partial

import numpy as np

from emodir_tui.bench import Bench
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.measures.importance import taylor
from emodir_tui.problems.subnetwork import SubnetworkProblem, search_images, subnetwork_problems
from emodir_tui.results import Front, Importance, Original, Parts
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.names import IMPORTANCE, StageName, front_name, result_name
from emodir_tui.runs.run import Run, step
from emodir_tui.stages.support.batch_backoff import with_batch_backoff
from emodir_tui.stages.support.search_loop import SearchLimits, SubnetworkReport, front_of, publish_front, run_search
from emodir_tui.stages.support.search_size import subnetwork_size
from emodir_tui.training.losses import cross_entropy

IMPORTANCE_IMAGES = 512
IMPORTANCE_BATCH = 64


@step(StageName.SEARCH, list[Front])
def search(run: Run, bench: Bench, original: Original, parts: Parts) -> list[Front]:
    """Search every sub-network independently; each finished front is kept."""
    batch = bench.profile.search.batch
    return with_batch_backoff(run, StageName.SEARCH, batch, partial(_search_all, run, bench, original, parts))


def _search_all(run: Run, bench: Bench, original: Original, parts: Parts, batch: int) -> list[Front]:
    graph, division = bench.graph(original.weights), bench.division(parts.cuts)
    measure = partial(_importance, bench, graph, batch)
    importance = run.part(result_name(StageName.SEARCH, IMPORTANCE), Importance, measure).values
    wanted, images = bench.profile.search.images, search_images(bench, division)
    if images < wanted:
        run.log(
            f"search.memory holds the features of {images} images; the search uses these", "warning", StageName.SEARCH
        )
    fronts: list[Front] = []
    for problem in subnetwork_problems(bench, original, graph, parts, importance, batch):
        name = front_name(StageName.SEARCH, problem.part.name)
        find = partial(_search_one, run, problem, len(fronts), len(division.subnetworks))
        fronts.append(run.part(name, Front, find))
        publish_front(run, StageName.SEARCH, fronts[-1], graph, problem.part)
        del problem, find
    return fronts


def _search_one(run: Run, problem: SubnetworkProblem, index: int, count: int) -> Front:
    settings, name = problem.bench.profile.search, problem.part.name
    nsga2 = problem.search()
    state = run_search(
        run,
        nsga2,
        Place(stage=StageName.SEARCH, subject=name),
        problem,
        SearchLimits(generations=settings.generations, patience=settings.patience, tolerance=settings.tolerance),
        SubnetworkReport(
            nsga2=nsga2,
            size=subnetwork_size(problem.bench.profile, problem.graph, problem.part.groups),
            subnetwork=name,
            round=1,
            generations=settings.generations,
            index=index,
            count=count,
        ),
        nsga2.begin_with_descent if settings.descent else None,
    )
    return front_of(nsga2, state, name)


def _importance(bench: Bench, graph: ChannelGraph, batch: int) -> Importance:
    images = min(IMPORTANCE_IMAGES, bench.profile.search.images)
    batches = bench.batches(bench.data.search, images, min(batch, IMPORTANCE_BATCH))
    return Importance(values=np.asarray(taylor(graph, batches, cross_entropy), dtype=np.float64))
