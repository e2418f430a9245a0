"""The operators that this project plugs into pymoo's NSGA-II: population, mating, elimination of repeats."""

from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import binary_tournament
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.infill import InfillCriterion
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.selection.tournament import TournamentSelection

from emodir_tui.arrays import Floats, Vectors
from emodir_tui.emo.space import Space, keys

# Rounds of mating in one generation before fewer children than wanted are returned.
MAX_ROUNDS = 20

# Replaces objectives that are not finite: pymoo's crowding distances need numbers, and any real value is smaller.
PENALTY = 1e30


def members(vectors: Vectors, objectives: Floats) -> Population:
    """A pymoo population whose `F` is finite: vectors with an objective that is not finite get an equal penalty.

    Args:
        vectors: [n, length].
        objectives: float[n, 2]; kept unchanged as `measured`.
    """
    finite = np.isfinite(objectives).all(axis=1, keepdims=True)
    fitness = np.where(finite, objectives, PENALTY)
    return Population.new("X", vectors, "F", fitness, "measured", objectives)


class Mating(InfillCriterion):  # type: ignore[misc]  # pymoo has no type information
    """Binary tournaments, then the space's variation, repeated until enough children are new."""

    def __init__(self, space: Space) -> None:
        super().__init__(eliminate_duplicates=Unseen(), n_max_iterations=MAX_ROUNDS)
        self.space = space
        self.selection = TournamentSelection(func_comp=binary_tournament)
        self.rounds = 0

    def start_generation(self, seen: Vectors) -> None:
        """Forget the rounds of the last generation, and let through nothing that is in `seen`, [m, length]."""
        self.rounds = 0
        self.eliminate_duplicates.reset(seen)

    def _do(self, problem: Problem, pop: Population, n_offsprings: int, random_state: Any = None, **kwargs: Any) -> Any:
        pairs = self.selection(
            problem, pop, n_offsprings, n_parents=2, to_pop=False, random_state=random_state, **kwargs
        )
        parents = pop.get("X")[pairs]
        children = self.space.vary(parents, random_state)
        # The more rounds were needed, the further the children move.
        for _ in range(self.rounds // 4):
            children = self.space.vary(np.stack([children, parents[:, 1]], axis=1), random_state)
        self.rounds += 1
        return Population.new("X", children)


class Unseen(DuplicateElimination):  # type: ignore[misc]  # pymoo has no type information
    """Lets through only vectors that were never seen, each of them once."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = 0
        self._seen: set[bytes] = set()
        self._let_through: set[bytes] = set()

    def reset(self, seen: Vectors) -> None:
        """Compare with these vectors, [m, length]. Between two calls vectors are only ever appended to them."""
        self._seen.update(keys(seen[self._rows :]))
        self._rows = len(seen)
        self._let_through = set()

    def do(self, pop: Population, *args: Any, **kwargs: Any) -> Population:  # noqa: ARG002  # pymoo's signature
        """The new vectors of `pop`, in their order."""
        fresh = []
        for row, key in enumerate(keys(pop.get("X"))):
            if key not in self._seen and key not in self._let_through:
                self._let_through.add(key)
                fresh.append(row)
        return pop[fresh]
