"""The space of a sub-network's masks: initial sampling, crossover and mutation."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emodir_tui.arrays import Floats, Masks
from emodir_tui.emo.genome import Genome


@dataclass(frozen=True, kw_only=True, slots=True)
class Variation:
    """Probabilities of the operators: at most one crossover, then at most one mutation per child.

    Attributes:
        exchange: Probability of a crossover that exchanges whole layers between the parents.
        uniform: Probability of a uniform crossover, each gene from either parent. Without a crossover the child starts
            as its first parent and is always mutated.
        mutation: Probability that a crossed child is mutated.
        flip: Share of the mutations that flip genes anywhere.
        swap: Share of the mutations that remove genes of one layer and restore as many others of it.
        grow: Share of the mutations that restore the most important missing genes of one layer.
        shrink: Share of the mutations that remove the least important kept genes of one layer.
        branch: Share of the mutations that empty a branch or restore an empty one; they grow a layer if there are no
            branches.
        jitter: Standard deviation of a sampled mask's kept share between layers at a kept share of one half; smaller
            towards 0 and 1.
        random: Share of the sampled masks that ignore importance.

    Raises:
        ValueError: A value lies outside 0 to 1, or shares do not sum as they must.
    """

    exchange: float = 0.5
    uniform: float = 0.2
    mutation: float = 0.8
    flip: float = 0.25
    swap: float = 0.25
    grow: float = 0.2
    shrink: float = 0.2
    branch: float = 0.1
    jitter: float = 0.05
    random: float = 0.1

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"Variation.{name} is {getattr(self, name)}; it must be between 0 and 1")
        if self.exchange + self.uniform > 1.0:
            raise ValueError(f"Variation.exchange + uniform is {self.exchange + self.uniform}; it must be at most 1")
        if abs(sum(self.mutations) - 1.0) > 1e-9:
            raise ValueError(f"the mutation shares of Variation sum to {sum(self.mutations)}; they must sum to 1")

    @property
    def mutations(self) -> tuple[float, ...]:
        """The shares of the mutations, in the order flip, swap, grow, shrink, branch."""
        return self.flip, self.swap, self.grow, self.shrink, self.branch


class MaskSpace:
    """All valid masks of a genome: a `Space` for `Nsga2`."""

    def __init__(self, genome: Genome, variation: Variation | None = None) -> None:
        self.genome = genome
        self.variation = variation or Variation()
        # Ties in importance are spread over the layers, instead of whole layers following one another.
        within = (np.arange(genome.length) - genome.starts[genome.group_of]) / genome.sizes[genome.group_of]
        places = np.empty(genome.length)
        places[np.lexsort((-within, genome.importance))] = np.arange(genome.length)
        self._percentiles = places / genome.length

    @property
    def ends(self) -> Masks:
        """The unpruned mask and the emptiest valid one, bool[2, length]."""
        return np.stack([self.genome.full, self.genome.emptiest])

    def repair(self, vectors: Masks) -> Masks:
        """The nearest valid masks; see `Genome.repair`."""
        return self.genome.repair(vectors)

    def sample(self, count: int, generator: np.random.Generator) -> Masks:
        """Valid masks whose kept shares of the genes are spread evenly between 0 and 1, bool[count, length].

        A mask keeps the most important genes of the whole genome; every second one has a threshold jittered per layer.
        The last ones (`Variation.random`) keep random genes instead.
        """
        genome, variation = self.genome, self.variation
        random = round(count * variation.random)
        shares = np.concatenate([even_shares(count - random), even_shares(random)])
        jitter = generator.normal(0.0, variation.jitter, size=(count, len(genome.groups)))
        jitter *= 2.0 * np.sqrt(shares * (1.0 - shares))[:, None]
        jitter[1 : count - random : 2] = 0.0
        shares_by_gene = (shares[:, None] + jitter)[:, genome.group_of]
        percentiles = np.broadcast_to(self._percentiles, (count, genome.length)).copy()
        percentiles[count - random :] = generator.random((random, genome.length))
        return genome.repair(percentiles >= 1.0 - shares_by_gene)

    def vary(self, parents: Masks, generator: np.random.Generator) -> Masks:
        """One valid child of each pair, bool[n, length] from bool[n, 2, length]."""
        children, crossed = self._cross(parents, generator)
        mutated = ~crossed | (generator.random(len(children)) < self.variation.mutation)
        kinds = generator.choice(5, size=len(children), p=self.variation.mutations)
        for child, kind in zip(np.flatnonzero(mutated), kinds[mutated], strict=True):
            self._mutate(children[child], int(kind), generator)
        return self.genome.repair(children)

    def neighbours(self, vector: Masks) -> Iterator[Masks]:
        """Every mask one step away: a branch emptied or restored, a layer resized by one step, or two genes swapped."""
        genome = self.genome
        counts = genome.counts(vector[None])[0]
        for branch in range(len(genome.branches)):
            yield genome.toggled(vector, branch, 1.0)
        for group in np.flatnonzero(counts):
            valid = genome.valid_counts(int(group))
            for count in (*valid[valid > counts[group]][:1], *valid[valid < counts[group]][-1:]):
                neighbour = vector.copy()
                self._resize(neighbour, int(group), int(count - counts[group]))
                yield neighbour
            genes = genome.by_importance(int(group))
            for kept in genes[vector[genes]][::-1]:
                for missing in genes[~vector[genes]]:
                    neighbour = vector.copy()
                    neighbour[kept], neighbour[missing] = False, True
                    yield neighbour

    def _cross(self, parents: Masks, generator: np.random.Generator) -> tuple[Masks, npt.NDArray[np.bool_]]:
        """The children before mutation, bool[n, length], and which of them are crossed, bool[n]."""
        genome, variation = self.genome, self.variation
        first, second = parents[:, 0], parents[:, 1]
        draws = generator.random(len(parents))
        exchange = draws < variation.exchange
        uniform = ~exchange & (draws < variation.exchange + variation.uniform)
        layers = generator.random((len(parents), len(genome.groups))) < 0.5
        emptied = (genome.counts(first) == 0) != (genome.counts(second) == 0)
        for branch in genome.branches:
            # A branch that one parent alone has emptied comes from one parent as a whole.
            rows = np.flatnonzero(emptied[:, branch[0]])
            layers[np.ix_(rows, branch)] = layers[rows, branch[0]][:, None]
        from_second = np.zeros_like(first)
        from_second[exchange] = layers[exchange][:, genome.group_of]
        from_second[uniform] = generator.random((int(uniform.sum()), genome.length)) < 0.5
        return np.where(from_second, second, first), exchange | uniform

    def _mutate(self, child: Masks, kind: int, generator: np.random.Generator) -> None:
        """Mutate `child`, bool[length], in place; flip genes where the drawn mutation is impossible."""
        genome = self.genome
        counts = genome.counts(child[None])[0]
        if kind == 4 and genome.branches:
            branch = int(generator.integers(len(genome.branches)))
            child[:] = genome.toggled(child, branch, generator.random())
            return
        room = {1: np.minimum(counts, genome.sizes - counts), 3: counts - genome.least}.get(kind, genome.sizes - counts)
        groups = np.flatnonzero((counts > 0) & (room > 0))
        if kind == 0 or not len(groups):
            child[generator.choice(genome.length, mutation_strength(genome.length, generator), replace=False)] ^= True
            return
        group = int(generator.choice(groups))
        step = 1 if kind == 1 else genome.groups[group].round_to
        genes = min(int(room[group]), step * mutation_strength(-(-int(room[group]) // step), generator))
        if kind == 1:
            self._swap(child, group, genes, generator)
        else:
            self._resize(child, group, -genes if kind == 3 else genes)

    def _swap(self, child: Masks, group: int, genes: int, generator: np.random.Generator) -> None:
        inside = self.genome.by_importance(group)
        kept, missing = inside[child[inside]], inside[~child[inside]]
        child[generator.choice(kept, genes, replace=False)] = False
        child[generator.choice(missing, genes, replace=False)] = True

    def _resize(self, child: Masks, group: int, genes: int) -> None:
        """Restore that many of a layer's most important missing genes; for a negative count remove the least important."""
        inside = self.genome.by_importance(group)
        if genes > 0:
            child[inside[~child[inside]][:genes]] = True
        else:
            child[inside[child[inside]][genes:]] = False


def even_shares(count: int) -> Floats:
    """`count` evenly spaced shares between 0 and 1, without the ends, rising."""
    return np.linspace(0.0, 1.0, count + 2)[1:-1]


def mutation_strength(limit: int, generator: np.random.Generator) -> int:
    """Number of genes that a mutation changes, 1 … limit: mostly few, sometimes very many.

    Drawn from the heavy-tailed distribution, exponent 1.5, of Doerr, Le, Makhmara and Nguyen, "Fast genetic algorithms"
    (2017).
    """
    least = (limit + 1) ** -0.5
    draw = 1.0 - (1.0 - least) * generator.random()
    return min(limit, int(draw**-2))
