"""Polishing: the joint schemes go on being searched gene by gene, where no front's member is a limit any more."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from emodir_tui.emo.guided import savings
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.emo.operators import MaskSpace
from emodir_tui.emo.space import keys
from emodir_tui.nets.guide import Changes
from emodir_tui.profile import Profile, parse_rule
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.log import Run
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.bench import Bench, keep_all
from emodir_tui.stages.capacity import Capacity
from emodir_tui.stages.guiding import Guidance
from emodir_tui.stages.results import Bits, Floats, Passed, Schemes
from emodir_tui.stages.searching import Told, genome_of, own_genes, run_search
from emodir_tui.stages.whole import Members, Whole

# Beside the search's own 48 children, because a gene by gene search of a whole network needs the gradient most.
GUIDED_PARENTS = 4


def polish(
    run: Run,
    bench: Bench,
    whole: Whole,
    schemes: Schemes,
    importance: Floats,
    objectives: Callable[[Bits], Floats],
    capacity: Capacity,
    limits: list[float],
    tell: Callable[[Nsga2, SearchState, float], Told],
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

    def descend() -> Passed:
        masks, measured = gene_by_gene.guidance.descended(lambda masks: objectives(expand(masks)))
        return Passed(keeps=expand(masks), objectives=measured)

    def begin() -> SearchState:
        keeps, measured = schemes.keeps, schemes.objectives
        if bench.profile.search.descent:
            passed = run.part("joint.descent", Passed, descend)
            known = set(keys(keeps))
            fresh = [key not in known for key in keys(passed.keeps)]
            keeps = np.concatenate([keeps, passed.keeps[fresh]])
            measured = np.concatenate([measured, passed.objectives[fresh]])
        return nsga2.begin(keeps[:, gene_by_gene.genes], measured, schemes.reference)

    state = run_search(
        run,
        nsga2,
        Place(stage="joint", subject="polish"),
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
        keeps=expand(state.seen[chosen]),
        objectives=state.seen_objectives[chosen],
        reference=schemes.reference,
        hypervolumes=continued.hypervolumes,
        evaluations=schemes.evaluations + len(state.seen) - len(schemes.keeps),
    )


def budgets(profile: Profile) -> list[float]:
    """The limits that the pick rules set on the searched complexity: shares, or milliseconds where that is latency."""
    kind = profile.complexity.kind
    name = "max_latency_ms" if kind == "latency" else f"max_{kind}"
    return sorted({limit for rule, limit in map(parse_rule, profile.pick.rules) if rule == name})


class GeneByGene:
    """A search over the genes of a whole network: of all sub-networks, and of the streams where these are pruned.

    Args:
        bench: The bench.
        whole: Measures whole networks.
        importance: Of every gene of the network, float64[genes].
        seed: Of the search.
        parents: Members of the front that get guided children in each generation.
        limits: Shares of the complexity at which the front matters most.
        capacity: The impairment's, where it is not the error alone.

    Attributes:
        genes: Positions of the own genes in the network's keep vectors, int64[own genes].
        nsga2: The search.
        guidance: Its guided children.
        expand: Keep vectors bool[n, genes of the network] of masks bool[n, own genes].
    """

    def __init__(
        self,
        bench: Bench,
        whole: Whole,
        importance: Floats,
        seed: int,
        parents: int,
        limits: Sequence[float] = (),
        capacity: Capacity | None = None,
    ) -> None:
        graph, genes = whole.graph, own_genes(whole.graph, whole.groups)
        genome = genome_of(bench, graph, whole.groups, importance)

        # Functions that do not know this object: a cycle would keep a device's memory until the collector finds it.
        def expand(masks: Bits) -> Bits:
            keeps = keep_all(graph, len(masks))
            keeps[:, genes] = masks
            return keeps

        def adjusted(mask: Bits, changes: Changes) -> Changes:
            if capacity is None or capacity.weight == 0:
                return changes
            cost = savings(genome, lambda masks: capacity.kept(expand(masks)), mask)
            return capacity.changes(changes, expand(mask[None])[0], cost)

        self.genes, self.expand = genes, expand
        self.nsga2 = Nsga2(MaskSpace(genome), population=bench.profile.joint.population, seed=seed)
        self.guidance = Guidance(
            self.nsga2,
            whole.guide(),
            genes,
            lambda masks: whole.complexity(expand(masks)),
            parents=parents,
            limits=limits,
            adjust=adjusted,
        )


def nearest_members(members: list[Members], keeps: Bits) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each scheme its nearest member of every front, int64[n, fronts], and the genes that differ, int64[n]."""
    positions = np.zeros((len(keeps), len(members)), dtype=np.int64)
    together = np.ones_like(keeps)
    for column, front in enumerate(members):
        own = ~front.keeps.all(axis=0)
        differences = (keeps[:, None, own] != front.keeps[None, :, own]).sum(axis=2)
        positions[:, column] = differences.argmin(axis=1)
        together &= front.keeps[positions[:, column]]
    return positions, (together != keeps).sum(axis=1)


def _continued(state: SearchState, schemes: Schemes) -> SearchState:
    """The state told as the continuation of the search before it, whose last schemes are among this one's first."""
    return replace(
        state,
        generation=len(schemes.hypervolumes) - 1 + state.generation,
        hypervolumes=(*schemes.hypervolumes[:-1], *state.hypervolumes),
    )
