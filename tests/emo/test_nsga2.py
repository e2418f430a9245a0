from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emodir_tui.arrays import Vectors
from emodir_tui.emo.front import hypervolume
from emodir_tui.emo.genome import GeneGroup, Genome
from emodir_tui.emo.mask_space import MaskSpace
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.emo.space import distinct, keys
from emodir_tui.snapshot import pack, unpack
from tests.support.toys import ToyTask, genomes, is_valid, search_of, searched, seeds, toy_task


def same(one: SearchState, other: SearchState) -> bool:
    return pack(one) == pack(other)


def saved(state: SearchState) -> SearchState:
    found: SearchState = unpack(pack(state), SearchState)
    return found


def continued(search: Nsga2, state: SearchState, task: ToyTask, generations: int) -> SearchState:
    """The state in this generation, with children from outside in every second one."""
    while state.generation < generations:
        offspring = search.ask(state)
        if state.generation % 2:
            strangers = search.space.sample(5, np.random.default_rng(state.generation))
            new = [key not in set(keys(state.seen)) for key in keys(strangers)]
            offspring = distinct(np.concatenate([offspring, strangers[new]]))
        state = search.tell(state, offspring, task(offspring))
    return state


def pymoo_state(search: Nsga2, state: SearchState) -> dict[str, object]:
    """What of pymoo's algorithm decides the next generation."""
    algorithm = search._algorithm_at(state)
    population = {name: algorithm.pop.get(name).tolist() for name in ("X", "F", "rank", "crowding", "measured")}
    return {**population, "generation": algorithm.n_gen, "stopped": algorithm.termination.force_termination}


@pytest.mark.parametrize("interrupted_after", range(7))
def test_a_search_resumed_after_any_generation_is_the_search_that_was_never_interrupted(interrupted_after: int) -> None:
    task = toy_task()
    begun = searched(search_of(task), task, generations=0)
    whole = continued(search_of(task), begun, task, 7)
    stopped = search_of(task)
    state = continued(stopped, begun, task, interrupted_after)
    # Another process restores pymoo's algorithm from what was saved; here it is still the object that ran on.
    resumed, restored = search_of(toy_task()), saved(state)
    assert pymoo_state(resumed, restored) == pymoo_state(stopped, state)
    assert same(continued(resumed, restored, task, 7), whole)
    assert same(continued(stopped, state, task, 7), whole)


def test_one_algorithm_of_pymoo_lives_through_all_generations() -> None:
    task = toy_task()
    search = search_of(task)
    state = searched(search, task, generations=0)
    algorithm = search._algorithm_at(state)
    state = continued(search, state, task, 5)
    assert search._algorithm_at(state) is algorithm


@settings(max_examples=20)
@given(genomes(), seeds)
def test_a_search_saved_in_every_generation_is_the_one_that_never_was(genome: Genome, seed: int) -> None:
    task = ToyTask(genome)
    search = search_of(task, population=6, seed=seed)
    first = search.initial_vectors()
    state = search.begin(first, task(first))
    for _ in range(4):
        offspring = search_of(task, population=6, seed=seed).ask(saved(state))
        state = search_of(task, population=6, seed=seed).tell(saved(state), offspring, task(offspring))
    assert same(state, searched(search, task, generations=4))


def test_ask_and_tell_are_pure() -> None:
    task = toy_task()
    search = search_of(task)
    state = searched(search, task, generations=2)
    before = saved(state)
    offspring = search.ask(state)
    assert np.array_equal(search.ask(state), offspring)
    assert same(search.tell(state, offspring, task(offspring)), search.tell(state, offspring, task(offspring)))
    assert same(state, before)


def test_numpys_global_generator_has_no_say() -> None:
    task = toy_task()
    np.random.seed(1)  # noqa: NPY002
    one = searched(search_of(task), task, generations=3)
    np.random.seed(2)  # noqa: NPY002
    assert same(one, searched(search_of(task), task, generations=3))


def test_another_seed_is_another_search() -> None:
    task = toy_task()
    one, other = (searched(search_of(task, seed=seed), task, generations=2) for seed in (0, 1))
    assert not same(one, other)


@settings(max_examples=20)
@given(genomes(), seeds)
def test_no_mask_is_evaluated_twice_all_are_valid_and_the_hypervolume_never_falls(genome: Genome, seed: int) -> None:
    task = ToyTask(genome, seed)
    state = searched(search_of(task, population=6, seed=seed), task, generations=5)
    assert len(distinct(state.seen)) == len(state.seen)
    assert all(is_valid(genome, mask) for mask in state.seen)
    assert list(state.hypervolumes) == sorted(state.hypervolumes)
    # A batch of another size may round differently.
    assert np.allclose(state.seen_objectives, task(state.seen), rtol=1e-12)
    assert np.allclose(state.objectives, task(state.population), rtol=1e-12)


def test_generations_are_counted_without_one_too_many() -> None:
    task = toy_task()
    state = searched(search_of(task, population=12), task, generations=5)
    assert state.generation == 5
    assert len(state.hypervolumes) == 6
    assert state.seen.shape == (6 * 12, task.genome.length)
    assert state.population.shape == (12, task.genome.length)


def test_the_first_population_has_both_ends_then_the_extras() -> None:
    task = toy_task()
    extra = MaskSpace(task.genome).sample(3, np.random.default_rng(5))
    first = search_of(task).initial_vectors(np.concatenate([extra, extra]))
    assert np.array_equal(first[0], task.genome.full)
    assert np.array_equal(first[1], task.genome.emptiest)
    assert np.array_equal(first[2:5], extra)
    assert len(first) == len(distinct(first)) == 12


def all_valid(genome: Genome) -> set[tuple[bool, ...]]:
    return {bits for bits in product([False, True], repeat=genome.length) if is_valid(genome, np.array(bits))}


@settings(max_examples=25)
@given(
    st.lists(
        st.builds(
            GeneGroup,
            size=st.integers(1, 4),
            branch=st.sampled_from([None, 0]),
            round_to=st.sampled_from([1, 2, 3]),
        ),
        min_size=1,
        max_size=3,
    ),
    st.integers(4, 200),
)
def test_the_first_population_is_full_unless_the_whole_space_is_smaller(
    groups: list[GeneGroup], population: int
) -> None:
    genome = Genome(groups, np.arange(sum(group.size for group in groups), dtype=np.float64))
    first = Nsga2(MaskSpace(genome), population=population, seed=0).initial_vectors()
    space = all_valid(genome)
    assert {tuple(mask) for mask in first.tolist()} <= space
    assert len(first) == len(distinct(first)) == min(population, len(space))


def test_an_exhausted_space_gives_no_children_and_a_generation_without_children_is_possible() -> None:
    task = ToyTask(Genome([GeneGroup(size=3)], np.arange(1.0, 4.0)))
    state = searched(search_of(task, population=4), task, generations=12)
    assert len(state.seen) == 7
    nothing = search_of(task, population=4).ask(state)
    assert nothing.shape == (0, 3)
    assert nothing.dtype == np.bool_
    after = search_of(task, population=4).tell(state, nothing, task(nothing))
    assert after.generation == state.generation + 1
    assert np.array_equal(after.population, state.population)
    assert after.hypervolumes[-1] == state.hypervolumes[-1]


def test_a_space_of_one_mask_has_a_population_of_one() -> None:
    task = ToyTask(Genome([GeneGroup(size=2, round_to=8)], np.ones(2)))
    state = searched(search_of(task, population=4), task, generations=2)
    assert state.seen.tolist() == [[True, True]]


def test_the_archive_is_the_front_of_everything_seen() -> None:
    task = toy_task()
    search = search_of(task)
    state = searched(search, task, generations=6)
    front = state.seen_objectives[search.front(state)]
    assert (np.diff(front[:, 0]) > 0).all()
    assert (np.diff(front[:, 1]) < 0).all()
    assert hypervolume(front, state.reference) == state.hypervolumes[-1]


def test_the_reference_is_the_impairment_of_the_emptiest_mask() -> None:
    task = toy_task()
    state = searched(search_of(task), task, generations=0)
    assert state.reference == (1.0, pytest.approx(task(task.genome.emptiest[None])[0, 1]))


def test_a_reference_without_a_finite_impairment_of_the_emptiest_mask_is_the_largest_finite_one() -> None:
    task = toy_task()
    search = search_of(task)
    first = search.initial_vectors()
    objectives = task(first)
    objectives[1, 1] = np.nan
    assert search.begin(first, objectives).reference == (1.0, np.nanmax(objectives[:, 1]))
    objectives[:, 1] = np.nan
    assert search.begin(first, objectives).reference == (1.0, 1.0)


def test_candidates_whose_evaluation_broke_do_not_survive() -> None:
    task = toy_task()
    search = search_of(task)
    state = searched(search, task, generations=1)
    offspring = search.ask(state)
    objectives = task(offspring) * 1e6
    objectives[::2] = (0.0, np.nan)
    objectives[1] = (np.inf, 0.0)
    state = search.tell(state, offspring, objectives)
    assert np.isfinite(state.objectives).all()
    assert np.isfinite(state.seen_objectives[search.front(state)]).all()


def test_extras_are_never_left_out_however_many_there_are() -> None:
    task = toy_task()
    extra = MaskSpace(task.genome).sample(40, np.random.default_rng(5))
    first = search_of(task, population=12).initial_vectors(extra)
    assert len(first) == len(distinct(np.concatenate([first, extra]))) == len(distinct(first)) > 12


def test_a_second_round_may_begin_with_more_masks_than_the_population() -> None:
    task = toy_task()
    search = search_of(task)
    seen: Vectors = searched(search, task, generations=3).seen
    state = search.begin(seen, task(seen))
    assert len(state.seen) == len(seen)
    assert len(state.population) == 12
    assert np.allclose(state.objectives, task(state.population), rtol=1e-12)
    assert state.generation == 0


def test_the_search_beats_random_masks_with_the_same_number_of_evaluations() -> None:
    task = toy_task(layers=8, size=16)
    state = searched(search_of(task, population=24), task, generations=25)
    space = MaskSpace(task.genome)
    generator = np.random.default_rng(0)
    shares = generator.random((len(state.seen), 1))
    random = space.repair(generator.random((len(state.seen), task.genome.length)) < shares)
    assert state.hypervolumes[-1] > 1.1 * hypervolume(task(random), state.reference)
    assert state.hypervolumes[-1] > 1.02 * state.hypervolumes[0]


def zdt1(masks: Vectors) -> np.ndarray:
    """ZDT1 (Zitzler, Deb and Thiele 2000) of five numbers of 12 bits each."""
    numbers = masks.reshape(len(masks), 5, 12) @ (0.5 ** np.arange(1, 13))
    g = 1.0 + 9.0 * numbers[:, 1:].mean(axis=1)
    return np.stack([numbers[:, 0], g * (1.0 - np.sqrt(numbers[:, 0] / g))], axis=1)


def test_the_search_closes_in_on_the_front_of_zdt1() -> None:
    # Every gene is its own branch: all bit patterns are valid.
    genome = Genome([GeneGroup(size=1, branch=gene) for gene in range(60)], np.ones(60))
    search = Nsga2(MaskSpace(genome), population=40, seed=0)
    first = search.initial_vectors()
    state = search.begin(first, zdt1(first), reference=(1.0, 10.0))
    for _ in range(60):
        offspring = search.ask(state)
        state = search.tell(state, offspring, zdt1(offspring))
    best = 10.0 - 1.0 / 3.0  # the area above f2 = 1 - sqrt(f1), below the reference
    random = zdt1(np.random.default_rng(0).random((len(state.seen), 60)) < 0.5)
    assert state.hypervolumes[-1] > 0.99 * best > hypervolume(random, (1.0, 10.0)) + 0.05 * best


def test_a_population_below_four_and_arrays_of_another_shape_are_errors() -> None:
    task = toy_task()
    with pytest.raises(ValueError, match="at least 4"):
        search_of(task, population=3)
    with pytest.raises(ValueError, match="must be"):
        search_of(task).begin(search_of(task).initial_vectors(), np.zeros((3, 2)))
