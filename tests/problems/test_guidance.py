"""Guided children on a toy task, whose derivative is known by trying each gene."""

import numpy as np
import pytest

from emodir_tui.emo.genome import GeneGroup, Genome
from emodir_tui.emo.mask_space import MaskSpace
from emodir_tui.emo.nsga2 import Nsga2
from emodir_tui.emo.space import distinct
from emodir_tui.nets.measures.error_gradient import Changes
from emodir_tui.problems.guidance import CHILDREN, Guidance
from tests.support.toys import ToyTask, toy_task

LIMIT = 0.5


class ExactGuide:
    def __init__(self, task: ToyTask) -> None:
        self.task, self.genes = task, task.genome.length

    def changes(self, keep_vectors):
        found = []
        for keep in keep_vectors:
            flipped = keep ^ np.eye(self.genes, dtype=np.bool_)
            change = self.task(flipped)[:, 1] - self.task(keep[None])[0, 1]
            found.append(
                Changes(self.task(keep[None])[0, 1], np.where(keep, change, -change), np.where(keep, -change, change))
            )
        return found


@pytest.fixture
def search():
    """A search of a few generations without guidance, and its guidance at one limit."""
    task = toy_task(2)
    nsga2 = Nsga2(MaskSpace(task.genome), population=24, seed=3)
    guidance = Guidance(
        nsga2,
        ExactGuide(task),
        np.arange(task.genome.length),
        lambda masks: task(masks)[:, 0],
        parents=1,
        limits=[LIMIT],
    )
    first = nsga2.initial_vectors()
    state = nsga2.begin(first, task(first))
    return task, nsga2, guidance, state


def emptied(task, masks):
    counts = task.genome.counts(masks)
    return {tuple(bool(row[branch[0]] == 0) for branch in task.genome.branches) for row in counts}


def test_some_children_fill_the_limit_and_sets_of_emptied_branches_are_tried_there(search) -> None:
    task, nsga2, guidance, state = search
    tried = set()
    for _ in range(8):
        children = distinct(guidance.children(state))
        assert len(children) <= (1 + 3) * CHILDREN
        shares = task(children)[:, 0]
        filling = children[(shares <= LIMIT) & (shares > LIMIT - 0.05)]
        assert len(filling) >= CHILDREN // 2
        tried |= emptied(task, filling)
        np.testing.assert_array_equal(children, distinct(guidance.children(state)))
        state = nsga2.tell(state, children, task(children))
    assert len(tried) >= 3


def test_the_best_below_the_limit_beats_a_search_that_fills_nothing(search) -> None:
    task, nsga2, guidance, state = search

    def best(state):
        objectives = state.seen_objectives
        return objectives[objectives[:, 0] <= LIMIT, 1].min()

    guided = plain = state
    evaluations = 0
    for _ in range(6):
        children = distinct(guidance.children(guided))
        evaluations += len(children)
        guided = nsga2.tell(guided, children, task(children))
    while len(plain.seen) < len(state.seen) + evaluations:
        children = nsga2.ask(plain)
        plain = nsga2.tell(plain, children, task(children))
    assert best(guided) < best(plain)


def test_a_network_without_branches_fills_the_limit_too() -> None:
    genome = Genome([GeneGroup(size=8), GeneGroup(size=8)], np.random.default_rng(0).random(16))
    task = ToyTask(genome)
    nsga2 = Nsga2(MaskSpace(genome), population=8, seed=0)
    guidance = Guidance(
        nsga2, ExactGuide(task), np.arange(16), lambda masks: task(masks)[:, 0], parents=1, limits=[LIMIT]
    )
    first = nsga2.initial_vectors()
    children = distinct(guidance.children(nsga2.begin(first, task(first))))
    shares = task(children)[:, 0]
    assert ((shares <= LIMIT) & (shares > LIMIT - 0.1)).any()
