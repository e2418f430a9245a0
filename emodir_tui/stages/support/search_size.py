"""How many candidates a search is expected to measure, for the time that it takes and the share that is done."""

from dataclasses import dataclass

from emodir_tui.emo.gradient_moves import BRANCHES_PER_STEP, descent_steps
from emodir_tui.emo.guided_nsga2 import AT_LIMIT, CHILDREN, TOGGLED
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.problems.gene_by_gene import GUIDED_PARENTS
from emodir_tui.profile import Profile, budgets

# Children that are bred and were not seen before, as a share.
NEW = 0.8
# Moves of a step of a descent that empty a branch, for each group of a small network.
EMPTIED = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSize:
    """Candidates and gradients of the beginning of a search, and of each generation."""

    first: int
    each: int
    first_gradients: int = 0
    each_gradients: int = 0

    def candidates(self, generations: int) -> int:
        """Of the whole search."""
        return self.first + self.each * generations

    def gradients(self, generations: int) -> int:
        """Of the whole search."""
        return self.first_gradients + self.each_gradients * generations

    def done(self, generation: int | None, fresh: int, generations: int) -> float:
        """The share of a search that is done, 0 to 1.

        Args:
            generation: The last complete one; None before the first.
            fresh: Candidates measured after it.
            generations: Of the whole search.
        """
        measured = min(fresh, self.first) if generation is None else self.candidates(generation) + min(fresh, self.each)
        return min(1.0, measured / self.candidates(generations))


def positions_size(profile: Profile) -> SearchSize:
    """The search of joint schemes by positions in the fronts."""
    return SearchSize(first=profile.joint.population, each=profile.joint.population)


def subnetwork_size(profile: Profile, graph: ChannelGraph, groups: tuple[int, ...]) -> SearchSize:
    """The search of a sub-network with these channel groups."""
    return _guided(profile, graph, groups, profile.search.population, profile.search.population, profile.search.guided)


def polish_size(profile: Profile, graph: ChannelGraph, groups: tuple[int, ...]) -> SearchSize:
    """The polishing of joint schemes gene by gene; their first population is measured already."""
    limits = len(budgets(profile))
    parents = (GUIDED_PARENTS + (AT_LIMIT + 1) * limits) if profile.search.guided else 0
    return _guided(profile, graph, groups, 0, profile.joint.population + bool(parents) * TOGGLED * limits, parents)


def _guided(
    profile: Profile, graph: ChannelGraph, groups: tuple[int, ...], first: int, each: int, parents: int
) -> SearchSize:
    steps = moves = 0
    if profile.search.descent:
        steps = descent_steps(sum(graph.groups[number].stop - graph.groups[number].start for number in groups))
        moves = round(steps * (1 + min(BRANCHES_PER_STEP, EMPTIED * len(groups))))
    return SearchSize(
        first=first + moves,
        each=each + round(NEW * CHILDREN * parents),
        first_gradients=steps,
        each_gradients=parents,
    )
