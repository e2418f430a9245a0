"""Small genomes, masks and problems with known answers."""

import numpy as np
from hypothesis import strategies as st

from emodir_tui.arrays import Floats, Masks
from emodir_tui.emo.genome import GeneGroup, Genome
from emodir_tui.emo.mask_space import MaskSpace
from emodir_tui.emo.nsga2 import Nsga2, SearchState

seeds = st.integers(0, 2**31)


@st.composite
def genomes(draw: st.DrawFn) -> Genome:
    """Genomes of a few groups, some in branches, some rounded."""
    groups = draw(
        st.lists(
            st.builds(
                GeneGroup,
                size=st.integers(1, 9),
                branch=st.sampled_from([None, None, 0, 1]),
                round_to=st.sampled_from([1, 1, 2, 4, 8]),
            ),
            min_size=1,
            max_size=5,
        )
    )
    length = sum(group.size for group in groups)
    # Few distinct values, so that ties are met.
    importance = np.random.default_rng(draw(seeds)).integers(0, 6, length).astype(np.float64)
    return Genome(groups, importance)


@st.composite
def genomes_with_masks(draw: st.DrawFn) -> tuple[Genome, Masks]:
    """A genome and a few arbitrary, mostly invalid masks of it."""
    genome = draw(genomes())
    generator = np.random.default_rng(draw(seeds))
    share = draw(st.sampled_from([0.05, 0.3, 0.7, 0.95]))
    return genome, generator.random((draw(st.integers(1, 8)), genome.length)) < share


def is_valid(genome: Genome, mask: Masks) -> bool:
    """The rule of `genome.py` once more, spelled out group by group."""
    kept = [int(part.sum()) for part in np.split(mask, np.cumsum(genome.sizes)[:-1])]
    for group, count in zip(genome.groups, kept, strict=True):
        if count == 0:
            partners = [c for g, c in zip(genome.groups, kept, strict=True) if g.branch == group.branch]
            if group.branch is None or any(partners):
                return False
        elif count != group.size and count % group.round_to:
            return False
    return True


class ToyTask:
    """Complexity and impairment of masks: genes cost and matter differently, and layers suffer when they get thin."""

    def __init__(self, genome: Genome, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.genome = genome
        self.cost = generator.uniform(0.2, 1.0, genome.length)
        self.damage = genome.importance * self.cost

    def __call__(self, masks: Masks) -> Floats:
        kept = masks @ self.cost / self.cost.sum()
        lost = ~masks @ self.damage / max(self.damage.sum(), 1.0)
        thin = np.square(1.0 - self.genome.counts(masks) / self.genome.sizes).mean(axis=1)
        return np.stack([kept, lost + 0.5 * thin], axis=1)


def toy_task(seed: int = 0, layers: int = 6, size: int = 12) -> ToyTask:
    """Layers of which every second one is a branch of its own."""
    groups = [GeneGroup(size=size, branch=layer if layer % 2 else None) for layer in range(layers)]
    return ToyTask(Genome(groups, np.random.default_rng(seed).random(layers * size) ** 3), seed)


def searched(search: Nsga2, task: ToyTask, generations: int) -> SearchState:
    """The state after so many generations."""
    first = search.initial_vectors()
    state = search.begin(first, task(first))
    for _ in range(generations):
        offspring = search.ask(state)
        state = search.tell(state, offspring, task(offspring))
    return state


def search_of(task: ToyTask, population: int = 12, seed: int = 0) -> Nsga2:
    """A search over the task's masks."""
    return Nsga2(MaskSpace(task.genome), population=population, seed=seed)
