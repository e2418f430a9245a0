"""NSGA-II over any space of vectors: pymoo's algorithm, driven by ask and tell, and resumable byte for byte.

Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002), as pymoo
implements it. One pymoo object lives through all generations of a search. It does the tournaments, the mating with its
elimination of repeats, the non-dominated sorting with crowding distances, and the survival. This module adds the
archive, its hypervolume, and a state that can be saved.

That state holds what decides the next generation: the population in its order, its objectives, the number of the
generation, and every vector seen. Two parts of pymoo's state are functions of these, so they are derived again in
*every* generation, whether the search was interrupted or not:

- Ranks and crowding distances. After each survival the population is ranked among itself. The distances that survival
  leaves behind also count points that did not survive, which no saved population knows of.
- The random state. Before each ask and each tell it is set from (seed, "ask" or "tell", generation). A draw therefore
  depends on its place in the search alone, and not on how many numbers an earlier process had drawn.

So an algorithm rebuilt from a saved state is in the state of the one that was never interrupted.
"""

from dataclasses import dataclass

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination

from emodir_tui.arrays import Floats, Vectors
from emodir_tui.emo.front import Indices, hypervolume, non_dominated
from emodir_tui.emo.mating import MAX_ROUNDS, Mating, members
from emodir_tui.emo.space import Space, distinct, keys
from emodir_tui.seeds import derive_seed


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SearchState:
    """Everything needed to continue a search.

    Attributes:
        generation: Number of generations after the initial population.
        population: [n, length]; the parents of the next children.
        objectives: float[n, 2]; objectives of the population.
        seen: [m, length]; every vector evaluated so far, in order of evaluation. The archive is their front.
        seen_objectives: float[m, 2].
        hypervolumes: Hypervolume of the archive, the initial population's first, then one per generation; never falls.
        reference: Fixed reference point of the hypervolume, (complexity, impairment).
    """

    generation: int
    population: Vectors
    objectives: Floats
    seen: Vectors
    seen_objectives: Floats
    hypervolumes: tuple[float, ...]
    reference: tuple[float, float]


class Nsga2:
    """A search: `initial_vectors` and `begin` once, then `ask` and `tell` once per generation.

    What the methods return depends on their arguments and the seed alone. The pymoo object of the latest state is kept;
    any other state, such as one read from disk, gets a new object that is restored from it.

    Args:
        space: The space to search.
        population: Vectors that survive a generation, and children requested in each; at least 4.
        seed: Seed of every draw of this search.

    Raises:
        ValueError: The population is smaller than 4.
    """

    def __init__(self, space: Space, *, population: int, seed: int) -> None:
        if population < 4:
            raise ValueError(f"population is {population}; NSGA-II needs at least 4 members")
        self.space = space
        self.population = population
        self.seed = seed
        self._latest: tuple[SearchState, NSGA2] | None = None

    def initial_vectors(self, extra: Vectors | None = None) -> Vectors:
        """The initial vectors: the two ends of the space, all of `extra`, and vectors spread between the ends.

        All are distinct. There are `population` of them, more if `extra` has more, fewer if the whole space is smaller.

        Args:
            extra: [k, length]; further vectors, such as those of an earlier search. Repaired, and repeats are dropped.
        """
        generator = np.random.default_rng(derive_seed(self.seed, "first"))
        chosen = self.space.ends if extra is None else np.concatenate([self.space.ends, self.space.repair(extra)])
        chosen = distinct(chosen)
        for _ in range(MAX_ROUNDS):
            if len(chosen) >= self.population:
                break
            more = self.space.sample(self.population - len(chosen), generator)
            chosen = distinct(np.concatenate([chosen, more]))
        return self._completed(chosen)

    def begin(self, vectors: Vectors, objectives: Floats, reference: tuple[float, float] | None = None) -> SearchState:
        """The state of the initial population; of more vectors than `population` the fittest survive.

        Args:
            vectors: [n, length], valid and distinct.
            objectives: float[n, 2].
            reference: Reference point of the hypervolume. By default (1, impairment of the emptiest vector), with the
                largest finite impairment where the emptiest vector is missing or its impairment is not finite.

        Raises:
            ValueError: The arrays have other shapes.
        """
        objectives = np.asarray(objectives, dtype=np.float64)
        self._check(vectors, objectives)
        if reference is None:
            reference = (1.0, self._worst_impairment(vectors, objectives))
        algorithm = self._algorithm(vectors[: self.population], objectives[: self.population])
        population, fitness = vectors, objectives
        if len(vectors) > self.population:
            rest = members(vectors[self.population :], objectives[self.population :])
            population, fitness = _survivors(algorithm, rest, derive_seed(self.seed, "begin"))
        state = SearchState(
            generation=0,
            population=population,
            objectives=fitness,
            seen=vectors,
            seen_objectives=objectives,
            hypervolumes=(hypervolume(objectives, reference),),
            reference=reference,
        )
        self._keep(state, algorithm)
        return state

    def ask(self, state: SearchState) -> Vectors:
        """Children to evaluate, [k, length], k at most `population`: all distinct and none seen before.

        Fewer than `population` come back when new vectors are hard to find, none when the space seems exhausted.
        """
        algorithm = self._algorithm_at(state)
        algorithm.random_state = np.random.default_rng(derive_seed(self.seed, "ask", state.generation))
        algorithm.mating.start_generation(state.seen)
        children = algorithm.ask()
        # pymoo returns None where it found no child at all.
        return state.population[:0] if children is None else children.get("X")

    def tell(self, state: SearchState, offspring: Vectors, objectives: Floats) -> SearchState:
        """The state of the next generation; the fittest of population and offspring survive.

        Args:
            state: The state that was asked.
            offspring: [k, length]; evaluated children, those that others bred included. k may be 0.
            objectives: float[k, 2].

        Raises:
            ValueError: The arrays have other shapes.
        """
        objectives = np.asarray(objectives, dtype=np.float64)
        self._check(offspring, objectives)
        algorithm = self._algorithm_at(state)
        population, fitness = state.population, state.objectives
        if len(offspring):
            seed = derive_seed(self.seed, "tell", state.generation)
            population, fitness = _survivors(algorithm, members(offspring, objectives), seed)
        seen_objectives = np.concatenate([state.seen_objectives, objectives])
        # The archive only grows; the maximum undoes what rounding may lose.
        reached = max(state.hypervolumes[-1], hypervolume(seen_objectives, state.reference))
        following = SearchState(
            generation=state.generation + 1,
            population=population,
            objectives=fitness,
            seen=np.concatenate([state.seen, offspring]),
            seen_objectives=seen_objectives,
            hypervolumes=(*state.hypervolumes, reached),
            reference=state.reference,
        )
        self._keep(following, algorithm)
        return following

    def front(self, state: SearchState) -> Indices:
        """The archive: indices into `state.seen`, by rising complexity; of equally good vectors the first one seen."""
        return non_dominated(state.seen_objectives)

    def _algorithm_at(self, state: SearchState) -> NSGA2:
        """The algorithm in this state: the one that lives on, or one restored from the state."""
        if self._latest is not None and self._latest[0] is state:
            return self._latest[1]
        algorithm = self._algorithm(state.population, state.objectives)
        self._keep(state, algorithm)
        return algorithm

    def _algorithm(self, vectors: Vectors, objectives: Floats) -> NSGA2:
        """Pymoo's NSGA-II with this initial population, ranked."""
        algorithm = NSGA2(
            pop_size=self.population,
            sampling=members(vectors, objectives),
            mating=Mating(self.space),
            eliminate_duplicates=False,  # The mating compares with everything seen, not with the population alone.
            output=None,
        )
        # pymoo's default criterion would stop by its own idea of convergence.
        algorithm.termination = NoTermination()
        algorithm.setup(Problem(n_var=vectors.shape[1], n_obj=2))
        algorithm.tell(infills=algorithm.ask())
        return algorithm

    def _keep(self, state: SearchState, algorithm: NSGA2) -> None:
        """Keep the algorithm, which is in this state, for the next call."""
        # pymoo has counted the initial population as the first generation, and counts ahead.
        algorithm.n_gen = state.generation + 2
        # No children in one generation must not end the search: others may breed some.
        algorithm.termination.force_termination = False
        self._latest = (state, algorithm)

    def _completed(self, chosen: Vectors) -> Vectors:
        """`chosen` filled up to `population` breadth-first by neighbours, where draws find no more in a small space."""
        found_keys, found = set(keys(chosen)), list(chosen)
        for vector in found:  # The list grows during the walk.
            for neighbour in self.space.neighbours(vector):
                if len(found) >= self.population:
                    return np.array(found)
                (key,) = keys(neighbour[None])
                if key not in found_keys:
                    found_keys.add(key)
                    found.append(neighbour)
        return np.array(found)

    def _worst_impairment(self, vectors: Vectors, objectives: Floats) -> float:
        """Impairment of the emptiest vector, else the largest finite one, else 1."""
        finite = np.isfinite(objectives[:, 1])
        emptiest = finite & (vectors == self.space.ends[1]).all(axis=1)
        impairments = objectives[emptiest if emptiest.any() else finite, 1]
        return float(impairments.max()) if len(impairments) else 1.0

    def _check(self, vectors: Vectors, objectives: Floats) -> None:
        length = self.space.ends.shape[1]
        if vectors.ndim != 2 or vectors.shape[1] != length or objectives.shape != (len(vectors), 2):
            raise ValueError(
                f"vectors have the shape {vectors.shape} and objectives {objectives.shape}; "
                f"they must be [n, {length}] and [n, 2]"
            )


def _survivors(algorithm: NSGA2, offspring: Population, seed: int) -> tuple[Vectors, Floats]:
    """Advance by one generation: the survivors, [n, length], and their objectives, float[n, 2]."""
    algorithm.random_state = np.random.default_rng(seed)
    algorithm.tell(infills=offspring)
    survivors = algorithm.pop
    # Ranks and crowding distances of the survivors alone, as a restored algorithm computes them.
    algorithm.pop = algorithm.survival.do(
        algorithm.problem, survivors, n_survive=len(survivors), random_state=algorithm.random_state
    )
    return survivors.get("X"), survivors.get("measured")
