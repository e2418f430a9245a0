"""Guided children on a toy task, whose derivative is known by trying each gene."""

import numpy as np
import pytest

from emodir_tui.arrays import GeneEffects
from emodir_tui.emo.genome import GeneGroup, Genome
from emodir_tui.emo.guided_nsga2 import CHILDREN, GuidedNsga2
from emodir_tui.emo.nsga2 import Nsga2
from emodir_tui.emo.space import distinct
from tests.support.toys import ToyTask, toy_task

LIMIT = 0.5


class GuidedToy:
    """The toy task with its exact effects."""

    def __init__(self, task: ToyTask) -> None:
        self.task = task

    def complexity(self, masks):
        return self.task(masks)[:, 0]

    def effects(self, masks):
        found = []
        for mask in masks:
            flipped = mask ^ np.eye(len(mask), dtype=np.bool_)
            error = self.task(mask[None])[0, 1]
            change = self.task(flipped)[:, 1] - error
            found.append(GeneEffects(error, np.where(mask, change, -change), np.where(mask, -change, change)))
        return found


def guided_search(task: ToyTask, population: int, seed: int) -> GuidedNsga2:
    """A search with one guided parent and one limit."""
    return GuidedNsga2(task.genome, GuidedToy(task), population=population, seed=seed, parents=1, limits=[LIMIT])


@pytest.fixture
def search():
    """The toy task, a search without guidance, one with, and the first state of both."""
    task = toy_task(2)
    guided = guided_search(task, 24, 3)
    first = guided.initial_vectors()
    return task, Nsga2(guided.space, population=24, seed=3), guided, guided.begin(first, task(first))


def emptied(task, masks):
    counts = task.genome.counts(masks)
    return {tuple(bool(row[branch[0]] == 0) for branch in task.genome.branches) for row in counts}


def test_some_children_fill_the_limit_and_sets_of_emptied_branches_are_tried_there(search) -> None:
    task, nsga2, guided, state = search
    tried = set()
    for _ in range(8):
        children = distinct(guided.guided_children(state))
        assert len(children) <= (1 + 3) * CHILDREN
        shares = task(children)[:, 0]
        filling = children[(shares <= LIMIT) & (shares > LIMIT - 0.05)]
        assert len(filling) >= CHILDREN // 2
        tried |= emptied(task, filling)
        np.testing.assert_array_equal(children, distinct(guided.guided_children(state)))
        state = nsga2.tell(state, children, task(children))
    assert len(tried) >= 3


def test_the_best_below_the_limit_beats_a_search_that_fills_nothing(search) -> None:
    task, nsga2, guided, state = search

    def best(state):
        objectives = state.seen_objectives
        return objectives[objectives[:, 0] <= LIMIT, 1].min()

    led = plain = state
    evaluations = 0
    for _ in range(6):
        children = distinct(guided.guided_children(led))
        evaluations += len(children)
        led = nsga2.tell(led, children, task(children))
    while len(plain.seen) < len(state.seen) + evaluations:
        children = nsga2.ask(plain)
        plain = nsga2.tell(plain, children, task(children))
    assert best(led) < best(plain)


def test_the_guided_children_follow_the_ones_that_mating_makes(search) -> None:
    _, nsga2, guided, state = search
    asked = guided.ask(state)
    np.testing.assert_array_equal(asked, distinct(np.concatenate([nsga2.ask(state), guided.guided_children(state)])))
    assert len(asked) > len(nsga2.ask(state))


def test_a_descent_and_the_first_vectors_begin_a_search(search) -> None:
    task, _, guided, _ = search
    state = guided.begin_with_descent(task)
    passed, measured = guided.descend(task)
    np.testing.assert_array_equal(state.seen[-len(passed) :], passed)
    np.testing.assert_array_equal(state.seen_objectives[-len(passed) :], measured)
    assert (
        len(distinct(state.seen))
        == len(state.seen)
        == len(distinct(np.concatenate([guided.initial_vectors(), passed])))
    )


def test_a_network_without_branches_fills_the_limit_too() -> None:
    task = ToyTask(Genome([GeneGroup(size=8), GeneGroup(size=8)], np.random.default_rng(0).random(16)))
    guided = guided_search(task, 8, 0)
    first = guided.initial_vectors()
    children = distinct(guided.guided_children(guided.begin(first, task(first))))
    shares = task(children)[:, 0]
    assert ((shares <= LIMIT) & (shares > LIMIT - 0.1)).any()
