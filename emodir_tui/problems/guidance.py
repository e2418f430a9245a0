"""Guidance of a search by the gradient of the feature error: how it begins, and who breeds beside its own mating."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from emodir_tui.arrays import Bools, Floats
from emodir_tui.bench import Bench
from emodir_tui.emo.gradient_moves import Hints, breed, descend, niches
from emodir_tui.emo.mask_space import MaskSpace
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.emo.space import keys
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import SubnetworkSpan
from emodir_tui.nets.measures.error_gradient import Changes, ErrorGuide
from emodir_tui.problems.evaluator_choice import memory_of
from emodir_tui.problems.subnetwork import expand, kept_share, own_genes
from emodir_tui.seeds import derive_seed

# A guide needs few images, because it only orders genes; each of its parents gets this many children.
GUIDE_IMAGES, CHILDREN = 128, 8
# Of so many members below a limit, so many are the parents of those that fill it, in turns.
NEAREST, AT_LIMIT = 4, 2
# Sets of emptied branches besides the best one that are searched at a limit, in turns; and branches that are emptied or
# restored there in each generation, to find such sets.
NICHES, TOGGLED = 3, 4

# A mask that gets children, and the complexity that they fill.
Parent = tuple[Bools, float | None]


class Guidance:
    """Children bred along the gradient, and the descent that a search begins with.

    Args:
        nsga2: The search, over masks.
        guide: Predicts for keep vectors of the whole network.
        genes: Where the masks' genes lie in them, int64[length].
        complexity: Complexity kept, float64[n] of masks bool[n, length].
        parents: Members of the front that get children in each generation, drawn from all of it; 0: no guided children.
        limits: Complexities at which the front matters most. In each generation `AT_LIMIT` of the `NEAREST` members
            below each get children besides, which fill it; so does the best mask there of another set of emptied
            branches, and the best of all is tried with branches emptied or restored.
        adjust: What a mask's changes are where its impairment is not the error alone; of bool[length] and the guide's.
    """

    def __init__(
        self,
        nsga2: Nsga2,
        guide: ErrorGuide,
        genes: npt.NDArray[np.int64],
        complexity: Callable[[Bools], Floats],
        *,
        parents: int,
        limits: Sequence[float] = (),
        adjust: Callable[[Bools, Changes], Changes] = lambda _, changes: changes,
    ) -> None:
        if not isinstance(nsga2.space, MaskSpace):
            raise TypeError(f"{type(nsga2.space).__name__} is no space of masks")
        self._nsga2, self._genome, self._guide, self._genes = nsga2, nsga2.space.genome, guide, genes
        self._complexity = complexity
        self._parents, self._limits, self._adjust = parents, tuple(limits), adjust

    def hints(self, masks: Bools) -> list[Hints]:
        """See emo.guided.Guide; genes that the masks don't have are kept."""
        keep_vectors = np.ones((len(masks), self._guide.genes), dtype=np.bool_)
        keep_vectors[:, self._genes] = masks
        found = []
        for mask, (error, removal, restoring) in zip(masks, self._guide.changes(keep_vectors), strict=True):
            own = self._adjust(mask, Changes(error, removal[self._genes], restoring[self._genes]))
            found.append(Hints(removal=own.removal, restoring=own.restoring))
        return found

    def descend(self, objectives: Callable[[Bools], Floats]) -> SearchState:
        """The first state of a search: its space's own first vectors and all that a descent passed."""
        masks, measured = self.descended(objectives)
        passed = set(keys(masks))
        first = self._nsga2.initial_vectors()
        first = first[[key not in passed for key in keys(first)]]
        return self._nsga2.begin(
            np.concatenate([first, masks]), np.concatenate([objectives(first).reshape(-1, 2), measured])
        )

    def descended(self, objectives: Callable[[Bools], Floats]) -> tuple[Bools, Floats]:
        """What a descent passes, and its objectives."""
        return descend(self._genome, self, self._complexity, objectives)

    def children(self, state: SearchState) -> Bools:
        """Children of some of the front's members that were never seen."""
        if not self._parents:
            return state.seen[:0]
        seed = derive_seed(self._nsga2.seed, "guided", state.generation)
        draws = np.random.default_rng(seed)
        front = self._nsga2.front(state)
        chosen = draws.choice(front, min(self._parents, len(front)), replace=False)
        parents: list[Parent] = [(mask, None) for mask in state.seen[chosen]]
        toggled: list[Parent] = []
        for limit in self._limits:
            # Fronts rise in complexity, so the last ones below the limit are the nearest.
            below = front[state.seen_objectives[front, 0] <= limit][-NEAREST:]
            chosen = draws.choice(below, min(AT_LIMIT, len(below)), replace=False)
            parents += [(mask, limit) for mask in state.seen[chosen]]
            best = niches(self._genome, state.seen, state.seen_objectives, limit)[: 1 + NICHES]
            if len(best) > 1:
                parents.append((state.seen[draws.choice(best[1:])], limit))
            toggled += [(mask, limit) for row in best[:1] for mask in self._toggled(state.seen[row], draws)]
        bred = np.concatenate([self._bred(parents, CHILDREN, seed), self._bred(toggled, 1, seed)])
        seen = set(keys(state.seen))
        return bred[[key not in seen for key in keys(bred)]]

    def _bred(self, parents: list[Parent], children: int, seed: int) -> Bools:
        masks = np.array([mask for mask, _ in parents], dtype=np.bool_).reshape(-1, self._genome.length)
        limits = [limit for _, limit in parents]
        return breed(self._genome, masks, self.hints(masks), self._complexity, children, seed, limits)

    def _toggled(self, mask: Bools, draws: np.random.Generator) -> Bools:
        """The mask with one branch emptied or restored, for some branches, bool[at most `TOGGLED`, length]."""
        branches = len(self._genome.branches)
        chosen = draws.permutation(branches)[:TOGGLED]
        masks = [self._genome.toggled(mask, int(branch), draws.random()) for branch in chosen]
        return self._genome.repair(np.array(masks, dtype=np.bool_).reshape(-1, self._genome.length))


def make_guidance(
    bench: Bench,
    graph: ChannelGraph,
    part: SubnetworkSpan,
    nsga2: Nsga2,
    features: list[Tensor],
    outputs: list[Tensor],
) -> Guidance:
    """The guidance of one sub-network's search, on a few of its features."""
    batches = batches_for_guide(features)
    return Guidance(
        nsga2,
        ErrorGuide(
            graph,
            part.start,
            part.stop,
            features[:batches],
            outputs[:batches],
            memory_of(bench),
            bench.search_dtype,
        ),
        own_genes(graph, part.groups),
        lambda masks: kept_share(bench, graph, part, expand(graph, part, masks)),
        parents=bench.profile.search.guided,
    )


def batches_for_guide(features: list[Tensor]) -> int:
    """How many batches make about `GUIDE_IMAGES` images."""
    return max(1, round(GUIDE_IMAGES / len(features[0])))
