import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emodir_tui.arrays import Floats
from emodir_tui.emo.front import Indices, hypervolume
from emodir_tui.emo.gpir import greedy_walk
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.emo.position_space import JointVariation, PositionSpace, in_single_moves
from emodir_tui.emo.space import distinct
from emodir_tui.snapshot import pack, unpack
from tests.support.toys import seeds

sizes_of_fronts = st.lists(st.integers(1, 12), min_size=1, max_size=5)


def fronts_of(sizes: list[int], seed: int = 0) -> list[tuple[Floats, Floats]]:
    """Fronts whose impairment falls as less is saved."""
    generator = np.random.default_rng(seed)
    return [
        (np.append(np.sort(generator.random(n - 1))[::-1], 0.0), np.append(np.sort(generator.random(n - 1))[::-1], 0.0))
        for n in sizes
    ]


class JointTask:
    """Complexity kept and an impairment in which damaged neighbours hurt each other."""

    def __init__(self, fronts: list[tuple[Floats, Floats]]) -> None:
        self.fronts = fronts

    def __call__(self, schemes: Indices) -> Floats:
        saved = np.stack([saved[schemes[:, k]] for k, (saved, _) in enumerate(self.fronts)], axis=1)
        damage = np.stack([damage[schemes[:, k]] for k, (_, damage) in enumerate(self.fronts)], axis=1)
        total = sum(saved[0] for saved, _ in self.fronts) or 1.0
        return np.stack(
            [1.0 - saved.sum(axis=1) / total, damage.sum(axis=1) + (damage[:, 1:] * damage[:, :-1]).sum(axis=1)], axis=1
        )


def searched(sizes: list[int], generations: int, seed: int = 0, restart_at: int = -1) -> SearchState:
    task = JointTask(fronts_of(sizes))
    search = Nsga2(PositionSpace(task.fronts), population=10, seed=seed)
    first = search.initial_vectors()
    state = search.begin(first, task(first))
    for generation in range(generations):
        if generation == restart_at:
            state = unpack(pack(state), SearchState)
            search = Nsga2(PositionSpace(task.fronts), population=10, seed=seed)
        offspring = search.ask(state)
        state = search.tell(state, offspring, task(offspring))
    return state


@settings(max_examples=20)
@given(sizes_of_fronts, seeds)
def test_schemes_lie_in_their_fronts_are_seen_once_and_the_hypervolume_never_falls(sizes: list[int], seed: int) -> None:
    state = searched(sizes, generations=4, seed=seed)
    assert (state.seen >= 0).all()
    assert (state.seen < np.array(sizes)).all()
    assert state.seen.dtype == np.int64
    assert len(distinct(state.seen)) == len(state.seen)
    assert list(state.hypervolumes) == sorted(state.hypervolumes)


@settings(max_examples=25)
@given(sizes_of_fronts)
def test_the_first_schemes_hold_both_ends_and_are_as_many_as_asked_or_all_there_are(sizes: list[int]) -> None:
    first = Nsga2(PositionSpace(fronts_of(sizes)), population=10, seed=3).initial_vectors()
    assert first[0].tolist() == [n - 1 for n in sizes]
    assert [0] * len(sizes) in first.tolist()
    assert len(first) == min(10, int(np.prod(sizes)))


@pytest.mark.parametrize("restart_at", range(5))
def test_a_resumed_joint_search_is_the_one_that_was_never_interrupted(restart_at: int) -> None:
    one, other = searched([8, 9, 7], 5), searched([8, 9, 7], 5, restart_at=restart_at)
    assert pack(one) == pack(other)


def test_seeded_schemes_of_the_walk_spread_over_all_complexities() -> None:
    fronts = fronts_of([30, 30, 30])
    space = PositionSpace(fronts, JointVariation(walk=1.0))
    kept = JointTask(fronts)(space.sample(20, np.random.default_rng(0)))[:, 0]
    assert np.abs(np.diff(np.sort(kept))).max() < 0.15


def test_a_walk_in_single_moves_passes_every_position_and_every_step() -> None:
    walk = np.array([[2, 2], [0, 2], [0, 1], [0, 0]])
    assert in_single_moves(walk).tolist() == [[2, 2], [1, 2], [0, 2], [0, 1], [0, 0]]


@given(seeds)
def test_a_trade_moves_one_sub_network_up_and_another_down(seed: int) -> None:
    only = JointVariation(exchange=0.0, step=0.0, reset=0.0, trade=1.0)
    space = PositionSpace(fronts_of([20, 20, 20, 20]), only)
    parents = np.full((5, 2, 4), 10)
    moves = space.vary(parents, np.random.default_rng(seed)) - 10
    assert ((moves > 0).sum(axis=1) == 1).all()
    assert ((moves < 0).sum(axis=1) == 1).all()
    assert np.abs(moves).max() <= 3
    assert (parents == 10).all()


@given(seeds)
def test_a_step_moves_at_least_one_position_by_at_most_the_stride(seed: int) -> None:
    only = JointVariation(exchange=0.0, step=1.0, reset=0.0, trade=0.0, stride=2)
    space = PositionSpace(fronts_of([20, 20, 20]), only)
    moves = space.vary(np.full((5, 2, 3), 10), np.random.default_rng(seed)) - 10
    assert (np.abs(moves).max(axis=1) >= 1).all()
    assert np.abs(moves).max() <= 2


def test_the_joint_search_beats_the_greedy_walk() -> None:
    sizes = [25, 25, 25]
    state = searched(sizes, generations=30)
    walked = JointTask(fronts_of(sizes))(greedy_walk(fronts_of(sizes)))
    assert state.hypervolumes[-1] > hypervolume(walked, state.reference)


def test_settings_and_fronts_that_make_no_sense_are_errors() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        JointVariation(step=1.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        JointVariation(walk=2.0)
    with pytest.raises(ValueError, match="at least 1 position"):
        JointVariation(stride=0)
    with pytest.raises(ValueError, match="at least one sub-network"):
        PositionSpace([])
    with pytest.raises(ValueError, match="front 0"):
        PositionSpace([(np.zeros(2), np.zeros(3))])
    with pytest.raises(ValueError, match="must be finite"):
        PositionSpace([(np.array([np.nan, 0.0]), np.zeros(2))])
