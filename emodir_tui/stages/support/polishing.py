"""Polishing: the joint schemes go on being searched gene by gene, where no front's member is a limit any more."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from emodir_tui.arrays import Bools, Floats
from emodir_tui.bench import Bench
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.emo.space import keys
from emodir_tui.problems.capacity import Capacity
from emodir_tui.problems.gene_by_gene import GeneByGene
from emodir_tui.problems.network import NetworkProblem
from emodir_tui.results import DescentPath, Schemes
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.event_types import Event
from emodir_tui.runs.names import StageName, result_name
from emodir_tui.runs.run import Run
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.search_loop import run_search

# Beside the search's own 48 children, because a gene by gene search of a whole network needs the gradient most.
GUIDED_PARENTS = 4


def polish(
    run: Run,
    bench: Bench,
    whole: NetworkProblem,
    schemes: Schemes,
    importance: Floats,
    objectives: Callable[[Bools], Floats],
    capacity: Capacity,
    limits: list[float],
    tell: Callable[[Nsga2, SearchState, float], list[Event]],
) -> Schemes:
    """The schemes and what NSGA-II with guided children makes of them.

    Args:
        run: The run.
        bench: The bench.
        whole: Measures whole networks.
        schemes: To begin with.
        importance: Of every gene of the network, float64[genes].
        objectives: Of keep vectors, float64[n, 2].
        capacity: Their impairment's.
        limits: Shares of the complexity at which the front matters most.
        tell: What is told after each generation.
    """
    settings = bench.profile.joint
    seed = derive_seed(bench.profile.seed, "joint", "polish")
    parents = GUIDED_PARENTS if bench.profile.search.guided else 0
    gene_by_gene = GeneByGene(bench, whole, importance, seed, parents, limits, capacity)
    nsga2, expand = gene_by_gene.nsga2, gene_by_gene.expand

    def descend() -> DescentPath:
        masks, measured = gene_by_gene.guidance.descended(lambda masks: objectives(expand(masks)))
        return DescentPath(keep_vectors=expand(masks), objectives=measured)

    def begin() -> SearchState:
        keep_vectors, measured = schemes.keep_vectors, schemes.objectives
        if bench.profile.search.descent:
            passed = run.part(result_name(StageName.JOINT, "descent"), DescentPath, descend)
            known = set(keys(keep_vectors))
            fresh = [key not in known for key in keys(passed.keep_vectors)]
            keep_vectors = np.concatenate([keep_vectors, passed.keep_vectors[fresh]])
            measured = np.concatenate([measured, passed.objectives[fresh]])
        return nsga2.begin(keep_vectors[:, gene_by_gene.genes], measured, schemes.reference)

    state = run_search(
        run,
        nsga2,
        Place(stage=StageName.JOINT, subject="polish"),
        lambda masks: objectives(expand(masks)),
        generations=settings.polish,
        patience=settings.patience,
        tolerance=settings.tolerance,
        tell=lambda state, rate: tell(nsga2, _continued(state, schemes), rate),
        breed=gene_by_gene.guidance.children,
        begin=begin,
    )
    chosen = nsga2.front(state)
    continued = _continued(state, schemes)
    return Schemes(
        keep_vectors=expand(state.seen[chosen]),
        objectives=state.seen_objectives[chosen],
        reference=schemes.reference,
        hypervolumes=continued.hypervolumes,
        evaluations=schemes.evaluations + len(state.seen) - len(schemes.keep_vectors),
    )


def _continued(state: SearchState, schemes: Schemes) -> SearchState:
    """The state told as the continuation of the search before it, whose last schemes are among this one's first."""
    return replace(
        state,
        generation=len(schemes.hypervolumes) - 1 + state.generation,
        hypervolumes=(*schemes.hypervolumes[:-1], *state.hypervolumes),
    )
