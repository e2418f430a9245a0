"""Step 3: the Pareto front of each sub-network, by NSGA-II on its own features."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from emodir_tui.arrays import Floats
from emodir_tui.bench import Bench
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import SubnetworkSpan
from emodir_tui.nets.measures.importance import taylor
from emodir_tui.problems.guidance import make_guidance
from emodir_tui.problems.impairments import build_impairment
from emodir_tui.problems.subnetwork import (
    make_search,
    measure_masks,
    original_outputs,
    search_features,
    search_images,
    subnetwork_evaluator,
)
from emodir_tui.results import Front, Importance, Original, Parts
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.names import IMPORTANCE, StageName, front_name, result_name
from emodir_tui.runs.run import Run, step
from emodir_tui.stages.support.batch_backoff import with_batch_backoff
from emodir_tui.stages.support.search_loop import front_of, generation_events, run_search, tell_front
from emodir_tui.training.losses import cross_entropy

IMPORTANCE_IMAGES = 512
IMPORTANCE_BATCH = 64


@step(StageName.SEARCH, list[Front])
def search(run: Run, bench: Bench, original: Original, parts: Parts) -> list[Front]:
    """Search every sub-network on its own; each finished front is kept."""
    return with_batch_backoff(run, "search", lambda batch: _search_all(run, bench, original, parts, batch))


def _search_all(run: Run, bench: Bench, original: Original, parts: Parts, batch: int) -> list[Front]:
    graph, division = bench.division(original.weights, parts.cuts)
    importance = run.part(
        result_name(StageName.SEARCH, IMPORTANCE), Importance, lambda: _importance(bench, graph, batch)
    ).values
    wanted, images = bench.profile.search.images, search_images(bench, division.subnetworks)
    if images < wanted:
        run.log(f"search.memory holds the features of {images} images; the search uses these", "warning", "search")
    features = search_features(bench, division.subnetworks, batch)
    fronts = []
    for index, part in enumerate(division.subnetworks):
        outputs = original_outputs(bench, graph, part, features)
        task = _Task(run, bench, graph, part, index, len(division.subnetworks), importance)
        fronts.append(run.part(front_name(StageName.SEARCH, part.name), Front, partial(task.front, features, outputs)))
        tell_front(run, fronts[-1], graph, part)
        features = outputs
    return fronts


@dataclass(frozen=True, slots=True)
class _Task:
    """One sub-network's search."""

    run: Run
    bench: Bench
    graph: ChannelGraph
    part: SubnetworkSpan
    index: int
    count: int
    importance: Floats

    def front(self, features: list[Tensor], outputs: list[Tensor]) -> Front:
        settings = self.bench.profile.search
        impairment = build_impairment(self.bench, self.graph, self.part, outputs)
        evaluator = subnetwork_evaluator(self.bench, self.graph, self.part, features, impairment)
        nsga2 = make_search(self.bench, self.graph, self.part, self.importance, 1)
        objectives = partial(measure_masks, self.run, self.bench, self.graph, self.part, evaluator)
        guidance = make_guidance(self.bench, self.graph, self.part, nsga2, features, outputs)
        state = run_search(
            self.run,
            nsga2,
            Place(stage=StageName.SEARCH, subject=self.part.name),
            objectives,
            generations=settings.generations,
            patience=settings.patience,
            tolerance=settings.tolerance,
            tell=lambda s, rate: generation_events(
                nsga2, s, self.part.name, 1, settings.generations, rate, (self.index, self.count)
            ),
            breed=guidance.children,
            begin=partial(guidance.descend, objectives) if settings.descent else None,
        )
        return front_of(nsga2, state, self.part.name)


def _importance(bench: Bench, graph: ChannelGraph, batch: int) -> Importance:
    images = min(IMPORTANCE_IMAGES, bench.profile.search.images)
    batches = bench.batches(bench.data.search, images, min(batch, IMPORTANCE_BATCH))
    return Importance(values=np.asarray(taylor(graph, batches, cross_entropy), dtype=np.float64))
