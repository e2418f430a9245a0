from pathlib import Path

import numpy as np
import pytest

from emodir_tui.arrays import GeneEffects
from emodir_tui.bench import keep_all, open_bench
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.problems.capacity import Capacity
from emodir_tui.profile import load
from tests.support.models import random_keep


def opened():
    return open_bench(load(Path("profiles/digits.toml"))).architecture


@pytest.mark.parametrize("kind", ["macs", "params"])
def test_at_one_error_the_scheme_that_keeps_more_capacity_is_less_impaired(kind):
    graph = opened()
    capacity = Capacity(graph, kind, 0.7)
    keep_vectors = np.stack([keep_all(graph)[0], random_keep(graph, 0, 0.2), random_keep(graph, 1, 0.7)])
    model = ComplexityModel(graph, kind)
    np.testing.assert_allclose(
        capacity.kept(keep_vectors), model.measure(keep_vectors) / model.measure(keep_all(graph))[0]
    )
    impairments = capacity.impairments(np.full(3, 0.3), keep_vectors)
    assert impairments[0] == 0.3
    assert impairments[0] < impairments[1] < impairments[2] < 1.0


def test_the_odds_of_the_error_grow_with_what_is_gone_and_lost_errors_stay():
    graph = opened()
    capacity = Capacity(graph, "params", 0.7)
    keep_vectors = random_keep(graph, 1, 0.7)[None].repeat(5, axis=0)
    none, half, all_, more, broken = capacity.impairments(np.array([0.0, 0.5, 1.0, 1.3, np.nan]), keep_vectors)
    # At E = 1/2 the odds are 1, so that those of the impairment are the factor.
    assert half / (1 - half) == pytest.approx(np.exp(0.7 * (1 - capacity.kept(keep_vectors)[0])))
    assert (none, all_, more) == (0.0, 1.0, 1.3)
    assert np.isnan(broken)
    errors = np.linspace(0, 1.2, 50)
    assert (np.diff(Capacity(graph, "params", 5.0).impairments(errors, keep_vectors[:1].repeat(50, axis=0))) > 0).all()
    np.testing.assert_array_equal(
        Capacity(graph, "params", 0.0).impairments(errors, keep_vectors[:1].repeat(50, axis=0)), errors
    )


def test_effects_are_the_derivative_of_the_impairment():
    graph = opened()
    capacity = Capacity(graph, "params", 0.2)
    keep = random_keep(graph, 2, 0.3)
    gene = int(np.flatnonzero(keep)[0])
    without = keep.copy()
    without[gene] = False
    cost = capacity.kept(keep[None])[0] - capacity.kept(without[None])[0]
    error, growth = 0.3, 1e-4
    changed = capacity.effects(GeneEffects(error, np.array([growth]), np.array([-growth])), keep, np.array([cost]))
    before = capacity.impairments(np.array([error]), keep[None])[0]
    after = capacity.impairments(np.array([error + growth]), without[None])[0]
    assert changed.error == pytest.approx(before)
    assert changed.removal[0] == pytest.approx(after - before, rel=1e-3)
    assert changed.restoring[0] == pytest.approx(before - after, rel=1e-3)
    lost = GeneEffects(1.2, np.array([growth]), np.array([-growth]))
    assert capacity.effects(lost, keep, np.array([cost])) is lost
