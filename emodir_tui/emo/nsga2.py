"""NSGA-II over any space of vectors, by pymoo's ask and tell, resumable to the byte.

Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002), as pymoo
implements it. pymoo's own object is never kept: each generation builds a new one from the population's arrays and
seeds it from (seed, generation), so a search that goes on from saved arrays is the search that was never interrupted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination

from emodir_tui.arrays import Floats, Vectors
from emodir_tui.emo.front import Indices, hypervolume, non_dominated
from emodir_tui.emo.mating import TRIES, Mating, members
from emodir_tui.emo.space import Space, distinct, keys, packed, unpacked
from emodir_tui.seeds import derive_seed


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SearchState:
    """Everything a search needs to go on.

    Attributes:
        generation: How many generations have followed the first population.
        population: [n, length]; what the next children are bred from.
        objectives: float[n, 2]; of the population.
        seen: [m, length]; every vector that was ever evaluated, in that order. The archive is their front.
        seen_objectives: float[m, 2].
        hypervolumes: The archive's, one per generation, the first population's first; never falls.
        reference: The fixed reference point of the hypervolume, (complexity, impairment).
    """

    generation: int
    population: Vectors
    objectives: Floats
    seen: Vectors
    seen_objectives: Floats
    hypervolumes: tuple[float, ...]
    reference: tuple[float, float]

    def arrays(self) -> dict[str, Vectors]:
        """The state as plain arrays, for `.npz` or JSON; masks are packed to 8 genes a byte."""
        return {
            "generation": np.array(self.generation),
            "length": np.array(self.seen.shape[1]),
            "population": packed(self.population),
            "objectives": self.objectives,
            "seen": packed(self.seen),
            "seen_objectives": self.seen_objectives,
            "hypervolumes": np.array(self.hypervolumes, dtype=np.float64),
            "reference": np.array(self.reference, dtype=np.float64),
        }

    @classmethod
    def restore(cls, arrays: Mapping[str, Vectors]) -> "SearchState":
        """The state that `arrays` came from, equal to the bit."""
        length = int(arrays["length"])
        complexity, impairment = arrays["reference"].tolist()
        return cls(
            generation=int(arrays["generation"]),
            population=unpacked(arrays["population"], length),
            objectives=arrays["objectives"],
            seen=unpacked(arrays["seen"], length),
            seen_objectives=arrays["seen_objectives"],
            hypervolumes=tuple(arrays["hypervolumes"].tolist()),
            reference=(complexity, impairment),
        )


class Nsga2:
    """The search: `initial_vectors`, `begin`, then `ask` and `tell` once per generation, each a pure function.

    Args:
        space: What is searched.
        population: Vectors that survive a generation, and children asked for in each; at least 4.
        seed: Of every draw of this search.
    """

    def __init__(self, space: Space, *, population: int, seed: int) -> None:
        if population < 4:
            raise ValueError(f"population is {population}; NSGA-II needs at least 4 members")
        self.space = space
        self.population = population
        self.seed = seed

    def initial_vectors(self, extra: Vectors | None = None) -> Vectors:
        """The first vectors: the two ends of the space, all of `extra`, and vectors spread between the ends.

        All distinct, and as many as `population` unless `extra` has more or the whole space fewer.

        Args:
            extra: [k, length]; vectors to begin with, such as an earlier search's. Repaired; repeats are dropped.
        """
        generator = np.random.default_rng(derive_seed(self.seed, "first"))
        chosen = self.space.ends if extra is None else np.concatenate([self.space.ends, self.space.repair(extra)])
        chosen = distinct(chosen)
        for _ in range(TRIES):
            if len(chosen) >= self.population:
                break
            more = self.space.sample(self.population - len(chosen), generator)
            chosen = distinct(np.concatenate([chosen, more]))
        return self._completed(chosen)

    def begin(self, vectors: Vectors, objectives: Floats, reference: tuple[float, float] | None = None) -> SearchState:
        """The state after the first population; of more vectors than `population` the fittest breed.

        Args:
            vectors: [n, length], valid and distinct.
            objectives: float[n, 2].
            reference: (1, impairment of the emptiest vector) unless given; the largest finite impairment where the
                emptiest vector isn't among them or its impairment isn't finite.
        """
        objectives = np.asarray(objectives, dtype=np.float64)
        self._check(vectors, objectives)
        if reference is None:
            reference = (1.0, self._worst_impairment(vectors, objectives))
        survivors = self._survivors(vectors, objectives, parents=self.population, seed=derive_seed(self.seed, "begin"))
        return SearchState(
            generation=0,
            population=vectors[survivors],
            objectives=objectives[survivors],
            seen=vectors,
            seen_objectives=objectives,
            hypervolumes=(hypervolume(objectives, reference),),
            reference=reference,
        )

    def ask(self, state: SearchState) -> Vectors:
        """Children to evaluate, [k, length]: none was ever seen, none twice; 0 … `population` of them.

        Fewer than `population` when new ones are hard to find, none when the space seems exhausted: then stop.
        """
        mating = Mating(self.space, state.seen)
        seed = derive_seed(self.seed, "ask", state.generation)
        children = self._algorithm(state.population, state.objectives, seed=seed, mating=mating).ask()
        # pymoo answers None where it found no child at all.
        return state.population[:0] if children is None else children.get("X")

    def tell(self, state: SearchState, offspring: Vectors, objectives: Floats) -> SearchState:
        """The next generation's state; the fittest of population and offspring survive.

        Args:
            state: The one that was asked.
            offspring: [k, length]; evaluated children, k may be 0.
            objectives: float[k, 2].
        """
        objectives = np.asarray(objectives, dtype=np.float64)
        self._check(offspring, objectives)
        vectors = np.concatenate([state.population, offspring])
        fitness = np.concatenate([state.objectives, objectives])
        seed = derive_seed(self.seed, "tell", state.generation)
        survivors = self._survivors(vectors, fitness, parents=len(state.population), seed=seed)
        seen_objectives = np.concatenate([state.seen_objectives, objectives])
        # The archive only grows; the maximum takes away what rounding may lose.
        reached = max(state.hypervolumes[-1], hypervolume(seen_objectives, state.reference))
        return SearchState(
            generation=state.generation + 1,
            population=vectors[survivors],
            objectives=fitness[survivors],
            seen=np.concatenate([state.seen, offspring]),
            seen_objectives=seen_objectives,
            hypervolumes=(*state.hypervolumes, reached),
            reference=state.reference,
        )

    def front(self, state: SearchState) -> Indices:
        """The archive: indices into `state.seen`, by rising complexity; the first seen of equally good ones."""
        return non_dominated(state.seen_objectives)

    def _algorithm(self, vectors: Vectors, objectives: Floats, *, seed: int, mating: Mating | None = None) -> NSGA2:
        """The NSGA-II of pymoo at the point where `vectors` are ranked and their children are due."""
        population = members(vectors, objectives)
        algorithm = NSGA2(
            pop_size=self.population,
            sampling=population,
            mating=mating,
            eliminate_duplicates=False,  # the mating's own elimination compares with everything seen
            seed=seed,
            output=None,
        )
        # pymoo's default criterion would stop by its own idea of convergence.
        algorithm.termination = NoTermination()
        algorithm.setup(Problem(n_var=vectors.shape[1], n_obj=2))
        algorithm.tell(infills=algorithm.ask())
        return algorithm

    def _survivors(self, vectors: Vectors, objectives: Floats, *, parents: int, seed: int) -> Indices:
        """Rows that survive when the first `parents` rows meet the others as their offspring."""
        rows: Indices = np.arange(len(vectors))
        if len(vectors) <= parents:
            return rows
        algorithm = self._algorithm(vectors[:parents], objectives[:parents], seed=seed)
        algorithm.tell(infills=members(vectors[parents:], objectives[parents:], first_row=parents))
        survivors: Indices = algorithm.pop.get("row")
        return survivors

    def _completed(self, chosen: Vectors) -> Vectors:
        """`chosen` up to `population`, breadth-first by neighbours: draws found no more in a space this small."""
        known, found = set(keys(chosen)), list(chosen)
        for vector in found:  # the list grows while it is walked
            for neighbour in self.space.neighbours(vector):
                if len(found) >= self.population:
                    return np.array(found)
                (key,) = keys(neighbour[None])
                if key not in known:
                    known.add(key)
                    found.append(neighbour)
        return np.array(found)

    def _worst_impairment(self, vectors: Vectors, objectives: Floats) -> float:
        """Of the emptiest vector; else the largest finite one; 1 where there is none."""
        finite = np.isfinite(objectives[:, 1])
        emptiest = finite & (vectors == self.space.ends[1]).all(axis=1)
        known = objectives[emptiest if emptiest.any() else finite, 1]
        return float(known.max()) if len(known) else 1.0

    def _check(self, vectors: Vectors, objectives: Floats) -> None:
        length = self.space.ends.shape[1]
        if vectors.ndim != 2 or vectors.shape[1] != length or objectives.shape != (len(vectors), 2):
            raise ValueError(
                f"the search was told vectors {vectors.shape} and objectives {objectives.shape}; "
                f"it needs [n, {length}] and [n, 2]"
            )
