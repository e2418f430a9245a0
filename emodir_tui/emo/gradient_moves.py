"""Guided variation: gene effects predicted by a gradient at the present mask, instead of a fixed importance.

For a mask m, a guide predicts for each gene by how much the impairment changes if the gene is removed, or added. One
guide costs a few evaluations and ranks hundreds of single moves. Predictions choose moves only; objectives
are always measured.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from emodir_tui.arrays import Floats, GeneEffects, Masks
from emodir_tui.emo.front import Indices
from emodir_tui.emo.genome import Genome
from emodir_tui.emo.mask_space import mutation_strength
from emodir_tui.emo.space import distinct, keys


class Guide(Protocol):
    """Predicts the effect of each gene at a mask."""

    def effects(self, masks: Masks) -> list[GeneEffects]:
        """The effects of all genes at each mask, bool[n, length]; a pure function of the mask."""


Complexity = Callable[[Masks], Floats]
Measure = Callable[[Masks], Floats]

# Share of the genome's genes that one step of the descent removes.
STEP = 0.03
# Branches whose emptying each step of the descent measures. ResNet-110 has 54; measuring most of them would be wasted.
BRANCHES_PER_STEP = 6
# Largest scale of the random term by which children of one parent differ, as a share of the ranking.
TEMPERATURE = 0.3
# Steps tried one by one to use the remaining complexity below a limit.
LAST_TRIES = 32
# Masks within this share below a limit are compared with one another.
NEAR = 0.03


def descend(genome: Genome, guide: Guide, complexity: Complexity, measure: Measure) -> tuple[Masks, Floats]:
    """Descend greedily from the unpruned mask to the emptiest one; return all masks measured on the way.

    Each step measures two kinds of moves: the joint removal of the genes with the least predicted impairment per
    complexity saved, and the emptying of each of the `BRANCHES_PER_STEP` branches with the least predicted cost. It takes the
    move with the least measured impairment per complexity saved.

    Args:
        genome: The genome of the masks.
        guide: Predicts the effect of each gene.
        complexity: Complexity kept, float64[n] from bool[n, length].
        measure: Objectives, float64[n, 2] from bool[n, length].

    Returns:
        (masks bool[k, length], objectives float64[k, 2]), distinct, the unpruned one first.
    """
    mask = genome.full
    masks, objectives = [mask], [measure(mask[None])[0]]
    known = {_key(mask): objectives[0]}
    while True:
        (effects,) = guide.effects(mask[None])
        prices = effects.removal / savings(genome, complexity, mask)
        moves = [_without_cheapest(genome, mask, prices)]
        moves += _without_branch(genome, mask, effects.removal, complexity)
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


def descent_steps(genes: int) -> int:
    """Steps of a descent that empties no branch, at most."""
    return -(-genes // _genes_per_step(genes))


def _genes_per_step(genes: int) -> int:
    return max(1, int(genes * STEP))


def _price(here: Floats, there: Floats) -> float:
    """Impairment per complexity saved of a move between two points, float64[2] each; infinite if nothing is saved."""
    saved, cost = here[0] - there[0], there[1] - here[1]
    return float(cost / saved) if saved > 0 and np.isfinite(cost) else float("inf")


def _key(mask: Masks) -> bytes:
    return keys(mask[None])[0]


def breed(
    genome: Genome,
    parents: Masks,
    effects: Sequence[GeneEffects],
    complexity: Complexity,
    children: int,
    seed: int,
    limits: Sequence[float | None] | None = None,
) -> Masks:
    """Children of each parent, bool[parents × children, length]: cheap genes removed, costly ones restored, or both.

    Args:
        genome: The genome of the masks.
        parents: bool[n, length].
        effects: One per parent.
        complexity: As for `descend`.
        children: Number of children per parent.
        seed: Seed of all draws.
        limits: One per parent, the complexity that its children fill and do not exceed; None sets no limit.
    """
    generator = np.random.default_rng(seed)
    made = []
    for parent, found, limit in zip(parents, effects, limits or [None] * len(parents), strict=True):
        saved = savings(genome, complexity, parent)
        # An emptied branch is restored as a whole only, by the unguided operators.
        in_kept_group = (genome.counts(parent[None])[0] > 0)[genome.group_of]
        kept, missing = np.flatnonzero(parent), np.flatnonzero(~parent & in_kept_group)
        for _ in range(children):
            child = parent.copy()
            kind = generator.integers(3)
            many = mutation_strength(max(1, genome.length // 10), generator)
            temperature = TEMPERATURE * generator.random()
            if kind != 1:
                child[_cheapest(kept, (found.removal / saved)[kept], many, temperature, generator)] = False
            if kind != 0:
                child[_cheapest(missing, (found.restoring / saved)[missing], many, temperature, generator)] = True
            made.append(child if limit is None else fill(genome, child, found, saved, complexity, limit))
    return genome.repair(np.array(made).reshape(-1, genome.length))


def niches(genome: Genome, masks: Masks, objectives: Floats, limit: float) -> list[int]:
    """Rows of the least impaired mask just below a limit for each set of emptied branches, the least impaired first.

    Each set of emptied branches is its own basin: masks between two sets are worse, and a new set needs a few
    generations before it can compete.

    Args:
        genome: The genome of the masks.
        masks: bool[n, length].
        objectives: (complexity, impairment) of each, float64[n, 2].
        limit: Largest complexity; masks within `NEAR` of it count.
    """
    near = np.flatnonzero((objectives[:, 0] <= limit) & (objectives[:, 0] > limit * (1 - NEAR)))
    emptied = genome.counts(masks[near])[:, [branch[0] for branch in genome.branches]] == 0
    best: dict[bytes, int] = {}
    for row in np.argsort(objectives[near, 1], kind="stable"):
        best.setdefault(emptied[row].tobytes(), int(near[row]))
    return list(best.values())


def fill(
    genome: Genome, mask: Masks, effects: GeneEffects, saved: Floats, complexity: Complexity, limit: float
) -> Masks:
    """The mask with as much complexity as the limit allows, bool[length], valid.

    The cheapest genes are removed until the mask fits. Then the missing genes with the largest predicted benefit are
    restored while it still fits; genes predicted to do harm are not. Emptied branches stay empty and no group is
    emptied, so a mask that cannot fit keeps the least that is possible.

    Args:
        genome: The genome of the mask.
        mask: bool[length].
        effects: At a mask near this one.
        saved: Result of `savings` for a mask near this one.
        complexity: As for `descend`.
        limit: Largest complexity.
    """
    mask = genome.repair(mask[None])[0]

    def fits(candidate: Masks) -> bool:
        return bool(complexity(candidate[None])[0] <= limit)

    going = _moves(genome, mask, effects.removal / saved, kept=True)
    count = bisect_left(range(len(going)), 1, key=lambda n: int(fits(_changed(mask, going[:n], kept=False))))
    mask = _changed(mask, going[:count], kept=False)
    prices = effects.restoring / saved
    coming = [genes for genes in _moves(genome, mask, prices, kept=False) if prices[genes].mean() < 0]
    count = bisect_left(range(len(coming)), 1, key=lambda n: int(not fits(_changed(mask, coming[: n + 1], kept=True))))
    mask = _changed(mask, coming[:count], kept=True)
    # The remaining complexity may still hold a smaller step; a group whose next step is too large is finished.
    too_large: set[int] = set()
    for chunk in coming[count : count + LAST_TRIES]:
        group = int(genome.group_of[chunk[0]])
        larger = _changed(mask, [chunk], kept=True)
        if group in too_large or not fits(larger):
            too_large.add(group)
        else:
            mask = larger
    return mask


def savings(genome: Genome, complexity: Complexity, mask: Masks) -> Floats:
    """Complexity of one gene of each gene's group at this mask, float64[length], above 0."""
    changed = np.repeat(mask[None], len(genome.groups), axis=0)
    for group in range(len(genome.groups)):
        genes = np.flatnonzero(genome.group_of == group)
        some = genes[mask[genes]]
        # Removing the last gene of a group would empty a whole branch; adding one is measured instead.
        gene = some[0] if len(some) > 1 else genes[~mask[genes]][0] if len(some) < len(genes) else genes[0]
        changed[group, gene] = ~mask[gene]
    costs = np.abs(complexity(changed) - complexity(mask[None])[0])
    per_group: Floats = np.maximum(costs, 1e-9)
    return per_group[genome.group_of]


def _without_cheapest(genome: Genome, mask: Masks, prices: Floats) -> Masks:
    """The mask without the cheapest `STEP` of the genome, in valid steps of the groups, never without a whole group."""
    wanted = _genes_per_step(genome.length)
    result, removed = mask.copy(), 0
    for chunk in _moves(genome, mask, prices, kept=True):
        if removed >= wanted:
            break
        result[chunk] = False
        removed += len(chunk)
    return result


def _without_branch(genome: Genome, mask: Masks, removal: Floats, complexity: Complexity) -> list[Masks]:
    """The mask without each of the few branches whose emptying is predicted to cost least per complexity saved."""
    emptied = [np.where(np.isin(genome.group_of, branch), False, mask) for branch in genome.branches]
    emptied = [move for move in emptied if (move != mask).any()]
    if len(emptied) <= BRANCHES_PER_STEP:
        return emptied
    saved = complexity(mask[None])[0] - complexity(np.array(emptied))
    costs = np.array([removal[mask & ~move].sum() for move in emptied])
    cheapest = np.argsort(costs / np.maximum(saved, 1e-9), kind="stable")[:BRANCHES_PER_STEP]
    return [emptied[index] for index in sorted(cheapest)]


def _moves(genome: Genome, mask: Masks, prices: Floats, *, kept: bool) -> list[Indices]:
    """Valid steps by which groups lose kept genes (`kept`) or regain missing ones, the lowest price first.

    No group is emptied, and emptied groups stay empty.
    """
    chunks: list[tuple[float, Indices]] = []
    counts = genome.counts(mask[None])[0]
    for group in np.flatnonzero(counts > 0):
        genes = np.flatnonzero((genome.group_of == group) & (mask == kept))
        order = genes[np.argsort(prices[genes], kind="stable")]
        steps = genome.valid_counts(int(group)) - counts[group]
        chunks += _steps(order, sorted(abs(steps[steps < 0 if kept else steps > 0]).tolist()), prices)
    chunks.sort(key=lambda chunk: chunk[0])
    return [genes for _, genes in chunks]


def _steps(order: Indices, ends: Sequence[int], prices: Floats) -> list[tuple[float, Indices]]:
    """The genes in this order, cut at these ends, each step with its price."""
    steps: list[tuple[float, Indices]] = []
    start, price = 0, -np.inf
    for end in ends:
        chunk = order[start:end]
        # The steps of a group are taken in order, so none is cheaper than the one before it.
        price = max(price, float(prices[chunk].mean()))
        steps.append((price, chunk))
        start = end
    return steps


def _changed(mask: Masks, chunks: Sequence[Indices], *, kept: bool) -> Masks:
    result = mask.copy()
    for chunk in chunks:
        result[chunk] = kept
    return result


def _cheapest(
    genes: Indices, prices: Floats, count: int, temperature: float, generator: np.random.Generator
) -> Indices:
    """`count` of the genes, mostly the cheapest: by rank plus Gumbel noise of this temperature."""
    if not len(genes):
        return genes
    ranks = np.argsort(np.argsort(prices, kind="stable"), kind="stable") / len(genes)
    chosen: Indices = genes[np.argsort(ranks + temperature * generator.gumbel(size=len(genes)), kind="stable")[:count]]
    return chosen
