"""The space of joint schemes: the position of each sub-network in its front, 0 = most pruned … last = least pruned.

A residual stream (a channel group that belongs to no sub-network) is one more front, with few members.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emodir_tui.arrays import Floats
from emodir_tui.emo.front import Indices
from emodir_tui.emo.gpir import greedy_walk


@dataclass(frozen=True, kw_only=True, slots=True)
class JointVariation:
    """Probabilities of the operators: at most one exchange of positions, then at most one mutation per child.

    Attributes:
        exchange: Probability that each position comes from either parent; otherwise the child starts as its first
            parent and is always mutated.
        mutation: Probability that an exchanged child is mutated.
        step: Share of the mutations that move one or more positions by 1 to `stride`.
        reset: Share of the mutations that replace one position by a random one.
        trade: Share of the mutations that move one sub-network up and another down by 1 to `stride` each; with a
            single sub-network they are steps.
        stride: The longest move, in positions.
        walk: Share of the sampled schemes that come from the greedy walk; the others are random.

    Raises:
        ValueError: A value is out of range, or the mutation shares do not sum to 1.
    """

    exchange: float = 0.7
    mutation: float = 0.7
    step: float = 0.4
    reset: float = 0.2
    trade: float = 0.4
    stride: int = 3
    walk: float = 0.75

    def __post_init__(self) -> None:
        for name in ("exchange", "mutation", "step", "reset", "trade", "walk"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"JointVariation.{name} is {getattr(self, name)}; it must be between 0 and 1")
        if abs(sum(self.mutations) - 1.0) > 1e-9:
            raise ValueError(f"the mutation shares of JointVariation sum to {sum(self.mutations)}; they must sum to 1")
        if self.stride < 1:
            raise ValueError(f"JointVariation.stride is {self.stride}; it must be at least 1 position")

    @property
    def mutations(self) -> tuple[float, float, float]:
        """The shares of the mutations, in the order step, reset, trade."""
        return self.step, self.reset, self.trade


class PositionSpace:
    """All joint schemes of a list of fronts: a `Space` for `Nsga2`.

    Args:
        fronts: Per sub-network (complexity saved, global impairment) of its members, float[members] each, from the most
            pruned to the unpruned one; as for `gpir.greedy_walk`.
        variation: Probabilities of the operators.

    Raises:
        ValueError: There are no fronts, or one is empty or saves a complexity that is not finite.
    """

    def __init__(self, fronts: Sequence[tuple[Floats, Floats]], variation: JointVariation | None = None) -> None:
        if not fronts:
            raise ValueError("a joint search must have the front of at least one sub-network")
        for k, (saved, impairment) in enumerate(fronts):
            if not len(saved) or saved.shape != impairment.shape or saved.ndim != 1:
                raise ValueError(f"front {k} has shapes {saved.shape} and {impairment.shape}; both must be [members]")
            if not np.isfinite(saved).all():
                raise ValueError(f"front {k} saves {saved}; the complexity of every member must be finite")
        self.variation = variation or JointVariation()
        self.last: Indices = np.array([len(saved) - 1 for saved, _ in fronts], dtype=np.int64)
        self._walk = in_single_moves(greedy_walk(fronts))
        self._saved = np.sum([saved[self._walk[:, k]] for k, (saved, _) in enumerate(fronts)], axis=0)

    @property
    def ends(self) -> Indices:
        """The unpruned scheme and the most pruned one, int64[2, fronts]."""
        return np.stack([self.last, np.zeros_like(self.last)])

    def repair(self, vectors: Indices) -> Indices:
        """Positions clipped into their fronts."""
        return np.clip(vectors, 0, self.last)

    def sample(self, count: int, generator: np.random.Generator) -> Indices:
        """`count` schemes, int64[count, fronts]: most spread evenly over the greedy walk's complexities, the rest random.

        The walk is taken position by position, because one of its steps may skip much of a front. A scheme chosen
        twice is moved by a few positions.
        """
        walked = int(np.ceil(count * self.variation.walk))
        wanted = np.linspace(self._saved[0], self._saved[-1], walked + 2)[1:-1]
        steps = np.abs(self._saved[None, :] - wanted[:, None]).argmin(axis=1)
        schemes = np.concatenate(
            [self._walk[steps], generator.integers(0, self.last + 1, size=(count - walked, len(self.last)))]
        )
        for repeated in np.setdiff1d(np.arange(walked), np.unique(steps, return_index=True)[1]):
            self._step(schemes[repeated], generator)
        return self.repair(schemes)

    def vary(self, parents: Indices, generator: np.random.Generator) -> Indices:
        """One child of each pair, int64[n, fronts] from int64[n, 2, fronts]."""
        exchanged = generator.random(len(parents)) < self.variation.exchange
        from_second = exchanged[:, None] & (generator.random((len(parents), len(self.last))) < 0.5)
        children = np.where(from_second, parents[:, 1], parents[:, 0])
        mutated = ~exchanged | (generator.random(len(parents)) < self.variation.mutation)
        kinds = generator.choice(3, size=len(parents), p=self.variation.mutations)
        for child, kind in zip(np.flatnonzero(mutated), kinds[mutated], strict=True):
            (self._step, self._reset, self._trade)[kind](children[child], generator)
        return self.repair(children)

    def neighbours(self, vector: Indices) -> Iterator[Indices]:
        """Every scheme in which one sub-network moves by one position."""
        for k in range(len(self.last)):
            for move in (-1, 1):
                if 0 <= vector[k] + move <= self.last[k]:
                    neighbour = vector.copy()
                    neighbour[k] += move
                    yield neighbour

    def _step(self, child: Indices, generator: np.random.Generator) -> None:
        """Move at least one position, on average two, by up to `stride` in either direction."""
        moved = generator.random(len(child)) < 1.0 / len(child)
        moved[generator.integers(len(child))] = True
        moves = generator.integers(1, self.variation.stride + 1, size=len(child))
        child += np.where(moved, moves * generator.choice((-1, 1), size=len(child)), 0)

    def _reset(self, child: Indices, generator: np.random.Generator) -> None:
        k = generator.integers(len(child))
        child[k] = generator.integers(self.last[k] + 1)

    def _trade(self, child: Indices, generator: np.random.Generator) -> None:
        if len(child) < 2:
            self._step(child, generator)
            return
        up, down = generator.choice(len(child), size=2, replace=False)
        moves = generator.integers(1, self.variation.stride + 1, size=2)
        child[up] += moves[0]
        child[down] -= moves[1]


def in_single_moves(walk: Indices) -> Indices:
    """A descending walk with every position between its steps, int64[moves + 1, fronts] from int64[steps, fronts]."""
    schemes = [walk[0]]
    for target in walk[1:]:
        while (schemes[-1] > target).any():
            scheme = schemes[-1].copy()
            scheme[np.argmax(scheme > target)] -= 1
            schemes.append(scheme)
    return np.array(schemes)
