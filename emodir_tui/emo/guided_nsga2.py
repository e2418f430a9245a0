"""NSGA-II over masks with gradient guidance: a greedy descent to begin with, and extra children bred each generation."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from emodir_tui.arrays import Floats, Masks, Vectors
from emodir_tui.emo.genome import Genome
from emodir_tui.emo.gradient_moves import Guide, breed, descend, niches
from emodir_tui.emo.mask_space import MaskSpace, Variation
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.emo.space import distinct, keys
from emodir_tui.seeds import derive_seed

# Children of each guided parent.
CHILDREN = 8
# Of the NEAREST members below a limit, AT_LIMIT are drawn each generation as parents of children that fill it.
NEAREST, AT_LIMIT = 4, 2
# Sets of emptied branches, besides the best one, from which a parent at each limit is drawn; and branches of the best mask
# there that are emptied or restored each generation to find such sets.
NICHES, TOGGLED = 3, 4

# A mask that gets children, and the complexity that they fill; None: any.
Parent = tuple[Masks, float | None]


class GuidedProblem(Guide, Protocol):
    """A problem over masks that predicts the effects of genes and knows the complexity of a mask without measuring."""

    def complexity(self, masks: Masks) -> Floats:
        """The share of the complexity that masks keep, float64[n] of bool[n, length]."""


class GuidedNsga2(Nsga2):
    """NSGA-II whose `ask` adds children bred along the gradient.

    Args:
        genome: The genome of the masks.
        problem: Predicts the effects of genes, and knows complexities.
        population: See `Nsga2`.
        seed: See `Nsga2`.
        parents: Members of the front, drawn from all of it, that get guided children in each generation. 0 disables these.
        limits: Complexities at which the front matters most. In each generation `AT_LIMIT` of the `NEAREST` members
            below each limit get children that fill it, and so does the best mask there of another set of emptied
            branches; the best of all is tried with branches emptied or restored.
        variation: The operators of `MaskSpace`.
    """

    def __init__(
        self,
        genome: Genome,
        problem: GuidedProblem,
        *,
        population: int,
        seed: int,
        parents: int,
        limits: Sequence[float] = (),
        variation: Variation | None = None,
    ) -> None:
        super().__init__(MaskSpace(genome, variation), population=population, seed=seed)
        self.genome = genome
        self._problem, self._parents, self._limits = problem, parents, tuple(limits)

    def ask(self, state: SearchState) -> Vectors:
        """The children of `Nsga2.ask`, then the guided ones, [k, length]; none was ever seen, none twice."""
        return distinct(np.concatenate([super().ask(state), self.guided_children(state)]))

    def guided_children(self, state: SearchState) -> Masks:
        """Children of some of the front's members that were never seen, bool[k, length]."""
        if not self._parents:
            return state.seen[:0]
        seed = derive_seed(self.seed, "guided", state.generation)
        draws = np.random.default_rng(seed)
        front = self.front(state)
        chosen = draws.choice(front, min(self._parents, len(front)), replace=False)
        parents: list[Parent] = [(mask, None) for mask in state.seen[chosen]]
        toggled: list[Parent] = []
        for limit in self._limits:
            # Fronts rise in complexity, so the last ones below the limit are the nearest.
            below = front[state.seen_objectives[front, 0] <= limit][-NEAREST:]
            chosen = draws.choice(below, min(AT_LIMIT, len(below)), replace=False)
            parents += [(mask, limit) for mask in state.seen[chosen]]
            best = niches(self.genome, state.seen, state.seen_objectives, limit)[: 1 + NICHES]
            if len(best) > 1:
                parents.append((state.seen[draws.choice(best[1:])], limit))
            toggled += [(mask, limit) for row in best[:1] for mask in self._toggled(state.seen[row], draws)]
        bred = np.concatenate([self._bred(parents, CHILDREN, seed), self._bred(toggled, 1, seed)])
        seen = set(keys(state.seen))
        return bred[[key not in seen for key in keys(bred)]]

    def descend(self, objectives: Callable[[Masks], Floats]) -> tuple[Masks, Floats]:
        """The masks that a greedy descent measures, bool[k, length], and their objectives, float64[k, 2]."""
        return descend(self.genome, self._problem, self._problem.complexity, objectives)

    def begin_with_descent(self, objectives: Callable[[Masks], Floats]) -> SearchState:
        """The first state of a search: the first vectors of `Nsga2` and all that a descent measures."""
        masks, measured = self.descend(objectives)
        passed = set(keys(masks))
        first = self.initial_vectors()
        first = first[[key not in passed for key in keys(first)]]
        return self.begin(np.concatenate([first, masks]), np.concatenate([objectives(first).reshape(-1, 2), measured]))

    def _bred(self, parents: list[Parent], children: int, seed: int) -> Masks:
        masks = np.array([mask for mask, _ in parents], dtype=np.bool_).reshape(-1, self.genome.length)
        limits = [limit for _, limit in parents]
        effects = self._problem.effects(masks)
        return breed(self.genome, masks, effects, self._problem.complexity, children, seed, limits)

    def _toggled(self, mask: Masks, draws: np.random.Generator) -> Masks:
        """The mask with one branch emptied or restored, for some branches, bool[at most `TOGGLED`, length]."""
        branches = len(self.genome.branches)
        chosen = draws.permutation(branches)[:TOGGLED]
        masks = [self.genome.toggled(mask, int(branch), draws.random()) for branch in chosen]
        return self.genome.repair(np.array(masks, dtype=np.bool_).reshape(-1, self.genome.length))
