import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emodir_tui.emo.gpir import MeasuredMember, greedy_walk, rank_members


def row(subnetwork: str, member: int, kept: float, impairment: float) -> MeasuredMember:
    return MeasuredMember(
        subnetwork=subnetwork,
        member=member,
        complexity_kept=kept,
        local_impairment=0.0,
        global_impairment=impairment,
        accuracy_change=0.0,
        kl=0.0,
    )


def test_an_example_worked_by_hand() -> None:
    rows = [
        row("sn1", 0, 0.60, 0.40),  # level 0 (least kept of all); 0.40 / 0.40 = 1.0
        row("sn1", 1, 0.80, 0.10),  # level 0; 0.10 / 0.20 = 0.5
        row("sn1", 2, 1.00, 0.00),  # level 0; saves nothing: last of its level
        row("sn2", 0, 0.70, 0.24),  # level 0; 0.24 / 0.30 = 0.8
        row("sn2", 1, 0.90, 0.20),  # level 1, behind sn1's member 1; 0.20 / 0.10 = 2.0
        row("sn2", 2, 1.00, 0.00),  # level 0; equal to sn1's member 2, a later sub-network
    ]
    assert [(r.rank, r.level, r.row.subnetwork, r.row.member) for r in rank_members(rows)] == [
        (1, 0, "sn1", 1),
        (2, 0, "sn2", 0),
        (3, 0, "sn1", 0),
        (4, 0, "sn1", 2),
        (5, 0, "sn2", 2),
        (6, 1, "sn2", 1),
    ]


def test_ties_go_by_the_order_of_the_sub_networks_not_of_their_names() -> None:
    rows = [row("sn9", 0, 0.5, 0.2), row("sn10", 1, 0.5, 0.2), row("sn10", 0, 0.5, 0.2)]
    assert [(r.row.subnetwork, r.row.member) for r in rank_members(rows)] == [("sn9", 0), ("sn10", 0), ("sn10", 1)]


def test_members_without_a_finite_impairment_come_last() -> None:
    rows = [row("sn1", 0, 0.1, np.nan), row("sn1", 1, 0.9, 9.0), row("sn2", 0, 0.8, np.inf)]
    assert [(r.level, r.row.subnetwork, r.row.member) for r in rank_members(rows)] == [
        (0, "sn1", 1),
        (1, "sn1", 0),
        (1, "sn2", 0),
    ]


def test_nothing_has_an_empty_ranking() -> None:
    assert rank_members([]) == []


def test_the_greedy_walk_takes_the_cheapest_step_each_time() -> None:
    fronts = [
        (np.array([4.0, 2.0, 0.0]), np.array([0.90, 0.10, 0.0])),
        (np.array([3.0, 1.0, 0.0]), np.array([0.21, 0.15, 0.0])),
    ]
    # From (2, 2): sn1 to 1 costs 0.05 a unit, sn2 to 0 costs 0.07, sn2 to 1 costs 0.15. Then sn2 to 0, then sn1 to 0.
    assert greedy_walk(fronts).tolist() == [[2, 2], [1, 2], [1, 0], [0, 0]]


def test_the_greedy_walk_passes_over_members_that_save_nothing_or_broke_and_still_ends_at_the_most_pruned() -> None:
    fronts = [(np.array([1.0, 2.0, 0.0]), np.array([0.5, 0.1, 0.0])), (np.array([1.0, 0.0]), np.array([np.nan, 0.0]))]
    assert greedy_walk(fronts).tolist() == [[2, 1], [1, 1], [0, 0]]


def test_of_equally_cheap_steps_the_first_sub_networks_smaller_one_is_taken() -> None:
    front = (np.array([2.0, 1.0, 0.0]), np.array([0.2, 0.1, 0.0]))
    assert greedy_walk([front, front]).tolist() == [[2, 2], [1, 2], [0, 2], [0, 1], [0, 0]]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 999))
def test_each_step_moves_one_sub_network_to_a_more_pruned_member(sizes: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    fronts = [(np.sort(generator.random(n))[::-1].copy(), generator.random(n)) for n in sizes]
    walk = greedy_walk(fronts)
    assert walk[0].tolist() == [n - 1 for n in sizes]
    assert walk[-1].tolist() == [0] * len(sizes)
    moves = np.diff(walk, axis=0)
    assert (moves <= 0).all()
    assert ((moves < 0).sum(axis=1) == 1).all()
