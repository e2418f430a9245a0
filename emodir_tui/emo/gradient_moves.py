"""Guided variation: what a gradient says of every gene at this very mask, instead of an importance fixed beforehand.

For a mask m, a guide predicts for each gene by how much the impairment grows when the gene goes, and when it comes. One
guide costs a few evaluations and ranks hundreds of single moves. Predictions choose moves only; what a mask is worth is
always measured.
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
    """Predicts what each gene is worth at a mask."""

    def effects(self, masks: Masks) -> list[GeneEffects]:
        """The effects of all genes at each mask, bool[n, length]; a pure function of the mask."""


Complexity = Callable[[Masks], Floats]
Measure = Callable[[Masks], Floats]

# Share of the genome that one step of the descent removes.
STEP = 0.03
# Branches whose emptying each step of the descent measures. Of 54 (ResNet-110) all but a few would be measured in vain.
EMPTIED = 6
# Spread of the random term by which children of one parent differ, in shares of the ranking: at most this.
TEMPERATURE = 0.3
# Steps tried one by one for the last of the room under a limit.
LAST_TRIES = 32
# How far below a limit a mask may be, in shares of it, to be compared with others there.
NEAR = 0.03


def descend(genome: Genome, guide: Guide, complexity: Complexity, measure: Measure) -> tuple[Masks, Floats]:
    """Greedy descent from the unpruned mask to the emptiest: what it passed and considered, and their objectives.

    At each mask the genes whose removal is predicted to cost least impairment per complexity saved go together; against
    that move stands the emptying of the `EMPTIED` branches that are predicted to be cheapest; the measured best of these
    is taken.

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


def _price(here: Floats, there: Floats) -> float:
    """Impairment per complexity saved of a move between two points, float64[2]; infinite where it saves nothing."""
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
    """Children of each parent, bool[parents × children, length]: cheap genes go, dear ones come, or both.

    Args:
        genome: Whose masks.
        parents: bool[n, length].
        effects: One per parent.
        complexity: As for `descend`.
        children: Of each parent.
        seed: Of all draws.
        limits: One per parent where given: the complexity that its children fill and do not exceed; None leaves them.
    """
    generator = np.random.default_rng(seed)
    made = []
    for parent, found, limit in zip(parents, effects, limits or [None] * len(parents), strict=True):
        saved = savings(genome, complexity, parent)
        # An emptied branch comes back as a whole only, by the unguided operators.
        alive = (genome.counts(parent[None])[0] > 0)[genome.group_of]
        kept, missing = np.flatnonzero(parent), np.flatnonzero(~parent & alive)
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
    """The least impaired mask near below a limit for each set of emptied branches, the least impaired set first.

    Sets of emptied branches are the basins of such a search: between two of them lies nothing but worse masks, and one
    that has just changed needs some generations of its own until it can show what it is worth.

    Args:
        genome: Whose masks.
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

    First the cheapest genes go until it fits, then the dearest missing ones come while it still does; those that would do
    harm stay away. Emptied branches stay empty, and no group is emptied: a mask that fits the limit in no such way comes
    back with the least it can keep.

    Args:
        genome: Whose mask.
        mask: bool[length].
        effects: At a mask near this one.
        saved: What `savings` gives for a mask near this one.
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
    # What is left of the room may still hold something smaller; a group whose next step is too large is done.
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
    if len(emptied) <= EMPTIED:
        return emptied
    saved = complexity(mask[None])[0] - complexity(np.array(emptied))
    costs = np.array([removal[mask & ~move].sum() for move in emptied])
    cheapest = np.argsort(costs / np.maximum(saved, 1e-9), kind="stable")[:EMPTIED]
    return [emptied[index] for index in sorted(cheapest)]


def _moves(genome: Genome, mask: Masks, prices: Floats, *, kept: bool) -> list[Indices]:
    """What may go (`kept`) or come back, one valid step of a group after another, the lowest price first.

    No whole group goes, and emptied groups stay so.
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
    """Genes in this order cut at these ends, each step with its price."""
    steps: list[tuple[float, Indices]] = []
    start, price = 0, -np.inf
    for end in ends:
        chunk = order[start:end]
        # A group's steps go in their order, so none is cheaper than the one before it.
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
    """`count` of the genes, mostly the cheapest: by rank, with a Gumbel term of this temperature."""
    if not len(genes):
        return genes
    ranks = np.argsort(np.argsort(prices, kind="stable"), kind="stable") / len(genes)
    chosen: Indices = genes[np.argsort(ranks + temperature * generator.gumbel(size=len(genes)), kind="stable")[:count]]
    return chosen
