"""The problem of a whole network gene by gene: free of the sub-network fronts, for polishing joint schemes."""

from collections.abc import Callable, Sequence

from emodir_tui.arrays import Floats, GeneEffects, KeepVectors, Masks
from emodir_tui.emo.gradient_moves import savings
from emodir_tui.emo.guided_nsga2 import GuidedNsga2
from emodir_tui.problems.genes import gene_positions, genome_of, keep_vectors_of
from emodir_tui.problems.network import NetworkProblem

# Front members that get guided children in each generation: a search of a whole network needs the gradient most.
GUIDED_PARENTS = 4


class GeneByGeneProblem:
    """What NSGA-II searches in a whole network: masks bool[n, own genes] over all channel groups that may be pruned.

    Args:
        network: Measures whole networks.
        importance: Of every gene of the network, float64[genes].

    Attributes:
        genes: Where the masks' genes stand in a keep vector, int64[own genes].
        genome: The genome of all channel groups that may be pruned.
    """

    def __init__(self, network: NetworkProblem, importance: Floats) -> None:
        self.network, self.importance = network, importance
        graph, groups, round_to = network.graph, network.groups, network.bench.profile.complexity.round_to
        self.genes = gene_positions(graph, groups)
        self.genome = genome_of(graph, groups, importance, network.complexity_model, round_to)

    def keep_vectors(self, masks: Masks) -> KeepVectors:
        """Keep vectors of the whole network, bool[n, genes]."""
        return keep_vectors_of(self.network.graph, self.network.groups, masks)

    def complexity(self, masks: Masks) -> Floats:
        """The share of the network's complexity that masks keep, float64[n]."""
        return self.network.complexity(self.keep_vectors(masks))

    def objectives(self, masks: Masks, check: Callable[[], None] = lambda: None) -> Floats:
        """(complexity kept, joint impairment) of each mask, float64[n, 2]."""
        return self.network.objectives(self.keep_vectors(masks), check)

    def effects(self, masks: Masks) -> list[GeneEffects]:
        """The predicted effect of each own gene on the joint impairment, at each mask."""
        keep_vectors = self.keep_vectors(masks)
        found = [effects.take(self.genes) for effects in self.network.gradient.effects(keep_vectors)]
        capacity = self.network.capacity
        if capacity.weight == 0:
            return found
        return [
            capacity.effects(effects, keep, savings(self.genome, self._capacity_kept, mask))
            for effects, keep, mask in zip(found, keep_vectors, masks, strict=True)
        ]

    def search(self, seed: int, parents: int, limits: Sequence[float] = ()) -> GuidedNsga2:
        """The NSGA-II of this problem.

        Args:
            seed: Of all draws.
            parents: Members of the front that get guided children in each generation; 0 disables guidance.
            limits: Shares of the complexity at which the front matters most.
        """
        population = self.network.bench.profile.joint.population
        return GuidedNsga2(self.genome, self, population=population, seed=seed, parents=parents, limits=limits)

    def _capacity_kept(self, masks: Masks) -> Floats:
        return self.network.capacity.kept(self.keep_vectors(masks))
