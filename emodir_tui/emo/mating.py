"""The parts that this project hangs into pymoo's NSGA-II: its population, its mating, its elimination of repeats."""

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

# How often a population's worth of children is bred before `ask` returns fewer than it wants.
TRIES = 20

# Stands for an objective that isn't finite: pymoo's crowding distances need numbers, and any real value is smaller.
WORST = 1e30


def members(vectors: Vectors, objectives: Floats, first_row: int = 0) -> Population:
    """A pymoo population that remembers its rows; points that are not finite become equally, finitely bad."""
    finite = np.isfinite(objectives).all(axis=1, keepdims=True)
    fitness = np.where(finite, objectives, WORST)
    return Population.new("X", vectors, "F", fitness, "row", np.arange(len(vectors)) + first_row)


class Mating(InfillCriterion):  # type: ignore[misc]  # pymoo has no type information
    """Tournaments among the population, then the space's variation; breeds again until enough children are new."""

    def __init__(self, space: Space, seen: Vectors) -> None:
        super().__init__(eliminate_duplicates=Unseen(seen), n_max_iterations=TRIES)
        self.space = space
        self.selection = TournamentSelection(func_comp=binary_tournament)
        self.rounds = 0

    def _do(self, problem: Problem, pop: Population, n_offsprings: int, random_state: Any = None, **kwargs: Any) -> Any:
        pairs = self.selection(
            problem, pop, n_offsprings, n_parents=2, to_pop=False, random_state=random_state, **kwargs
        )
        parents = pop.get("X")[pairs]
        children = self.space.vary(parents, random_state)
        # The harder it is to find new ones, the further the children go.
        for _ in range(self.rounds // 4):
            children = self.space.vary(np.stack([children, parents[:, 1]], axis=1), random_state)
        self.rounds += 1
        return Population.new("X", children)


class Unseen(DuplicateElimination):  # type: ignore[misc]  # pymoo has no type information
    """Lets through only what was never seen, and that once."""

    def __init__(self, seen: Vectors) -> None:
        super().__init__()
        self.known = set(keys(seen))

    def do(self, pop: Population, *args: Any, **kwargs: Any) -> Population:  # noqa: ARG002  # pymoo's signature
        """The new ones of `pop`, in their order."""
        fresh = []
        for row, key in enumerate(keys(pop.get("X"))):
            if key not in self.known:
                self.known.add(key)
                fresh.append(row)
        return pop[fresh]
