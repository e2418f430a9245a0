import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from emodir_tui.arrays import Floats
from emodir_tui.emo.front import hypervolume, knee, non_dominated, sort_levels, stagnated

# Coordinates from a coarse grid, so that equal objectives and equal points are met.
point_lists = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=40)


def array(points: list[tuple[float, float]]) -> Floats:
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def test_the_front_rises_in_complexity_and_keeps_the_first_of_equal_points() -> None:
    points = array([(3, 1), (1, 3), (2, 2), (2, 2), (3, 3), (1, 4)])
    assert non_dominated(points).tolist() == [1, 2, 0]


def test_points_that_are_not_finite_are_never_on_a_front() -> None:
    points = array([(0.1, np.nan), (np.inf, 0.0), (-np.inf, 0.0), (0.5, 0.5)])
    assert non_dominated(points).tolist() == [3]
    assert sort_levels(points).tolist() == [1, 1, 1, 0]
    assert hypervolume(points, (1.0, 1.0)) == 0.25


def test_no_points_have_an_empty_front_and_no_hypervolume() -> None:
    assert non_dominated(array([])).tolist() == []
    assert sort_levels(array([])).tolist() == []
    assert hypervolume(array([]), (1.0, 1.0)) == 0.0


def test_levels_peel_one_front_after_the_other() -> None:
    points = array([(1, 3), (2, 2), (3, 1), (2, 3), (3, 2), (3, 3), (2, 2)])
    assert sort_levels(points).tolist() == [0, 0, 0, 1, 1, 2, 0]


@given(point_lists)
def test_levels_are_those_of_pymoo(points: list[tuple[float, float]]) -> None:
    objectives = array(points)
    _, expected = NonDominatedSorting().do(objectives, return_rank=True)
    assert sort_levels(objectives).tolist() == expected.tolist()


@given(point_lists)
def test_the_front_is_the_first_level_without_repeats(points: list[tuple[float, float]]) -> None:
    objectives = array(points)
    expected = {tuple(point) for point in objectives[sort_levels(objectives) == 0].tolist()}
    found = [tuple(point) for point in objectives[non_dominated(objectives)].tolist()]
    assert found == sorted(expected)


def test_the_hypervolume_of_three_steps_is_their_area() -> None:
    # Columns of width 1 below the reference (4, 4): heights 1, 2 and 3.
    assert hypervolume(array([(1, 3), (2, 2), (3, 1)]), (4.0, 4.0)) == 6.0


def test_points_at_or_beyond_the_reference_add_nothing() -> None:
    assert hypervolume(array([(0.5, 0.5), (1.0, 0.0), (0.0, 2.0), (3.0, 0.1)]), (1.0, 1.0)) == 0.25


@given(point_lists)
def test_the_hypervolume_is_that_of_pymoo(points: list[tuple[float, float]]) -> None:
    objectives = array(points) / 8
    assert hypervolume(objectives, (0.9, 0.8)) == pytest.approx(HV(ref_point=np.array([0.9, 0.8]))(objectives))


@given(point_lists, st.tuples(st.integers(0, 8), st.integers(0, 8)))
def test_one_more_point_never_lowers_the_hypervolume(
    points: list[tuple[float, float]], another: tuple[float, float]
) -> None:
    assert hypervolume(array([*points, another]), (8.0, 8.0)) >= hypervolume(array(points), (8.0, 8.0))


def test_the_knee_is_where_the_front_bends_whatever_the_units() -> None:
    points = array([(0.0, 1.0), (0.2, 0.3), (0.6, 0.2), (1.0, 0.0), (0.3, 0.9)])
    assert knee(points) == 1
    assert knee(points * np.array([1e9, 1e-3])) == 1


def test_a_straight_or_short_front_has_its_knee_at_the_least_complexity() -> None:
    assert knee(array([(1.0, 0.0), (0.7, 0.3), (0.1, 0.9), (0.0, 1.0)])) == 3
    assert knee(array([(1.0, 0.0), (0.0, 1.0)])) == 1
    assert knee(array([(1.0, 0.0)])) == 0


def test_the_knee_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no point is finite"):
        knee(array([(np.nan, 0.0)]))


def test_a_search_stagnates_when_the_last_generations_gain_too_little() -> None:
    climbing = [0.1, 0.2, 0.3, 0.4]
    assert not stagnated(climbing, patience=2, tolerance=0.01)
    assert stagnated([*climbing, 0.401, 0.402], patience=2, tolerance=0.01)
    assert not stagnated([*climbing, 0.401, 0.402], patience=3, tolerance=0.01)


def test_a_search_does_not_stagnate_before_its_patience_or_without_a_tolerance() -> None:
    assert not stagnated([0.4, 0.4], patience=2, tolerance=0.01)
    assert stagnated([0.4, 0.4, 0.4], patience=2, tolerance=0.01)
    assert not stagnated([0.4, 0.4, 0.4], patience=2, tolerance=0.0)
    assert stagnated([0.0, 0.0, 0.0], patience=2, tolerance=0.01)


def test_stagnation_needs_a_generation_to_look_back() -> None:
    with pytest.raises(ValueError, match="at least 1 generation"):
        stagnated([0.1], patience=0, tolerance=0.1)
