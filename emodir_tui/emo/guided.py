"""Guided variation: what a gradient says of every gene at this very mask, instead of an importance fixed beforehand.

For a mask m, a guide predicts for each gene by how much the impairment grows when the gene goes, and when it comes. One
guide costs a few evaluations and ranks hundreds of single moves. Predictions choose moves only; what a mask is worth is
always measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emodir_tui.emo.front import Floats, Indices
from emodir_tui.emo.genome import Genome, Masks
from emodir_tui.emo.operators import strength
from emodir_tui.emo.space import distinct, keys


@dataclass(frozen=True, kw_only=True, slots=True)
class Hints:
    """Predicted growth of the impairment at one mask, float64[length]: by removing a gene, by restoring one."""

    removal: Floats
    restoring: Floats


class Guide(Protocol):
    """Says what each gene is worth."""

    def hints(self, masks: Masks) -> list[Hints]:
        """One per mask, of bool[n, length]; a pure function of the mask."""


Complexity = Callable[[Masks], Floats]
Measure = Callable[[Masks], Floats]

# Share of the genome that one step of the descent removes.
STEP = 0.03
# Spread of the random term by which children of one parent differ, in shares of the ranking: at most this.
TEMPERATURE = 0.3


def descend(genome: Genome, guide: Guide, complexity: Complexity, measure: Measure) -> tuple[Masks, Floats]:
    """Greedy descent from the unpruned mask to the emptiest: what it passed and considered, and their objectives.

    At each mask the genes whose removal is predicted to cost least impairment per complexity saved go together; against
    that move stands the emptying of each branch; the measured best of these is taken.

    Args:
        genome: Whose masks.
        guide: Predicts.
        complexity: Complexity kept, float64[n] of bool[n, length].
        measure: Objectives float64[n, 2].

    Returns:
        (masks bool[k, length], objectives float64[k, 2]), distinct, the unpruned one first.
    """
    mask = genome.full
    masks, objectives = [mask], [measure(mask[None])[0]]
    known = {_key(mask): objectives[0]}
    while True:
        (hints,) = guide.hints(mask[None])
        prices = hints.removal / savings(genome, complexity, mask)
        moves = [_without_cheapest(genome, mask, prices)]
        for branch in genome.branches:
            moves.append(np.where(np.isin(genome.group_of, branch), False, mask))
        moves = [move for move in moves if (move != mask).any()]
        if not moves:
            return np.array(masks), np.array(objectives)
        fresh = [move for move in distinct(np.array(moves)) if _key(move) not in known]
        if fresh:
            masks += fresh
            objectives += list(measure(np.array(fresh)))
            known.update(zip(map(_key, fresh), objectives[-len(fresh) :], strict=True))
        here = known[_key(mask)]
        mask = moves[int(np.argmin([_price(here, known[_key(move)]) for move in moves]))]


def _price(here: Floats, there: Floats) -> float:
    """Impairment per complexity saved of a move between two points, float64[2]; infinite where it saves nothing."""
    saved, cost = here[0] - there[0], there[1] - here[1]
    return float(cost / saved) if saved > 0 and np.isfinite(cost) else float("inf")


def _key(mask: Masks) -> bytes:
    return keys(mask[None])[0]


def breed(
    genome: Genome, parents: Masks, hints: Sequence[Hints], complexity: Complexity, children: int, seed: int
) -> Masks:
    """Children of each parent, bool[parents × children, length]: cheap genes go, dear ones come, or both.

    Args:
        genome: Whose masks.
        parents: bool[n, length].
        hints: One per parent.
        complexity: As for `descend`.
        children: Of each parent.
        seed: Of all draws.
    """
    generator = np.random.default_rng(seed)
    made = []
    for parent, hint in zip(parents, hints, strict=True):
        saved = savings(genome, complexity, parent)
        # An emptied branch comes back as a whole only, by the unguided operators.
        alive = (genome.counts(parent[None])[0] > 0)[genome.group_of]
        kept, missing = np.flatnonzero(parent), np.flatnonzero(~parent & alive)
        for _ in range(children):
            child = parent.copy()
            kind = generator.integers(3)
            many = strength(max(1, genome.length // 10), generator)
            temperature = TEMPERATURE * generator.random()
            if kind != 1:
                child[_cheapest(kept, (hint.removal / saved)[kept], many, temperature, generator)] = False
            if kind != 0:
                child[_cheapest(missing, (hint.restoring / saved)[missing], many, temperature, generator)] = True
            made.append(child)
    return genome.repair(np.array(made).reshape(-1, genome.length))


def savings(genome: Genome, complexity: Complexity, mask: Masks) -> Floats:
    """Complexity that one gene of each group costs at this mask, float64[length], above 0."""
    changed = np.repeat(mask[None], len(genome.groups), axis=0)
    for group in range(len(genome.groups)):
        genes = np.flatnonzero(genome.group_of == group)
        some = genes[mask[genes]]
        # The last gene of a group would take a whole branch with it; one more is weighed instead.
        gene = some[0] if len(some) > 1 else genes[~mask[genes]][0] if len(some) < len(genes) else genes[0]
        changed[group, gene] = ~mask[gene]
    costs = np.abs(complexity(changed) - complexity(mask[None])[0])
    per_group: Floats = np.maximum(costs, 1e-9)
    return per_group[genome.group_of]


def _without_cheapest(genome: Genome, mask: Masks, prices: Floats) -> Masks:
    """The mask without about `STEP` of the genome: the cheapest genes, in groups' valid steps, never a whole group."""
    wanted = max(1, int(genome.length * STEP))
    chunks: list[tuple[float, Indices]] = []
    counts = genome.counts(mask[None])[0]
    for group in np.flatnonzero(counts > 0):
        genes = np.flatnonzero((genome.group_of == group) & mask)
        order = genes[np.argsort(prices[genes], kind="stable")]
        below = [count for count in genome.valid_counts(int(group)).tolist() if count < counts[group]]
        taken, ceiling = 0, -np.inf
        for count in reversed(below):
            chunk = order[taken : counts[group] - count]
            taken += len(chunk)
            # A group's chunks go in their order, so none is cheaper than the one before it.
            ceiling = max(ceiling, float(prices[chunk].mean()))
            chunks.append((ceiling, chunk))
    chunks.sort(key=lambda chunk: chunk[0])
    result, removed = mask.copy(), 0
    for _, chunk in chunks:
        if removed >= wanted:
            break
        result[chunk] = False
        removed += len(chunk)
    return result


def _cheapest(
    genes: Indices, prices: Floats, count: int, temperature: float, generator: np.random.Generator
) -> Indices:
    """`count` of the genes, mostly the cheapest: by rank, with a Gumbel term of this temperature."""
    if not len(genes):
        return genes
    ranks = np.argsort(np.argsort(prices, kind="stable"), kind="stable") / len(genes)
    chosen: Indices = genes[np.argsort(ranks + temperature * generator.gumbel(size=len(genes)), kind="stable")[:count]]
    return chosen
