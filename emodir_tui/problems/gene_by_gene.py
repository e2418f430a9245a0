"""The search of a whole network gene by gene, where no front's member is a limit any more."""

from collections.abc import Sequence

from emodir_tui.arrays import Bools, Floats
from emodir_tui.bench import Bench, keep_all
from emodir_tui.emo.gradient_moves import savings
from emodir_tui.emo.mask_space import MaskSpace
from emodir_tui.emo.nsga2 import Nsga2
from emodir_tui.nets.measures.error_gradient import Changes
from emodir_tui.problems.capacity import Capacity
from emodir_tui.problems.guidance import Guidance
from emodir_tui.problems.network import NetworkProblem
from emodir_tui.problems.subnetwork import genome_of, own_genes


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
        whole: NetworkProblem,
        importance: Floats,
        seed: int,
        parents: int,
        limits: Sequence[float] = (),
        capacity: Capacity | None = None,
    ) -> None:
        graph, genes = whole.graph, own_genes(whole.graph, whole.groups)
        genome = genome_of(bench, graph, whole.groups, importance)

        # Functions that do not know this object: a cycle would keep a device's memory until the collector finds it.
        def expand(masks: Bools) -> Bools:
            keep_vectors = keep_all(graph, len(masks))
            keep_vectors[:, genes] = masks
            return keep_vectors

        def adjusted(mask: Bools, changes: Changes) -> Changes:
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
