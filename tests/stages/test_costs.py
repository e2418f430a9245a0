"""The expected time of each part of a run, and the rates that it is computed from."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from emodir_tui.bench import open_bench
from emodir_tui.profile import load
from emodir_tui.runs.names import StageName, split_result_name
from emodir_tui.stages.costs import expected_seconds
from emodir_tui.stages.support import rates
from emodir_tui.stages.support.baseline_cache import cache_file
from emodir_tui.stages.support.rates import Rates, measure_rates, reading_seconds
from emodir_tui.stages.support.search_size import SearchSize, polish_size, subnetwork_size

RATES = Rates(candidate=1e-4, gradient=0.01, training=3e-4, chain=4e-4, reading=1e-6)


def opened(*overrides):
    bench = open_bench(load(Path("profiles/digits.toml"), ["baseline.cache=false", *overrides]))
    return bench, *bench.try_division()


def seconds(*overrides, measured=RATES):
    return expected_seconds(*opened(*overrides), measured)


def test_each_stage_has_parts_in_the_order_of_the_work():
    stages = [split_result_name(name)[0] for name in seconds()]
    assert list(dict.fromkeys(stages)) == [name for name in StageName if name != StageName.DIVIDE]
    assert all(value >= 0 for value in seconds().values())


def test_a_cached_baseline_is_not_expected_to_be_trained_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert seconds("baseline.cache=true")["baseline"] > 0
    bench, _, _ = opened("baseline.cache=true")
    cache_file(bench).parent.mkdir(parents=True)
    cache_file(bench).touch()
    assert seconds("baseline.cache=true")["baseline"] == 0


def test_the_descent_and_the_gradients_take_time():
    plain = seconds("search.descent=false", "search.guided=0")
    assert seconds("search.guided=0")["search.sn1"] > plain["search.sn1"]
    assert seconds("search.descent=false")["search.sn1"] > plain["search.sn1"]
    assert seconds("search.guided=0")["joint.polish"] > plain["joint.polish"]
    # They count towards the share that is done, too.
    bench, graph, division = opened()
    groups = division.subnetworks[0].groups
    assert subnetwork_size(bench.profile, graph, groups).first > bench.profile.search.population
    assert polish_size(bench.profile, graph, groups).each > bench.profile.joint.population


def test_members_are_ranked_on_the_layers_after_them():
    many, few = seconds("divide.subnetworks=3"), seconds("divide.subnetworks=1")
    assert many["rank"] == pytest.approx(3 * few["rank"])


def test_where_reading_images_takes_longer_than_computing_it_decides_the_time():
    slow = seconds("finetune.epochs=2", measured=replace(RATES, reading=10.0))
    bench, _, _ = opened()
    assert slow["finetune.knee"] >= 10.0 * 2 * len(bench.data.train)
    assert slow["constrain.chain"] == pytest.approx(10.0 * 180 * 64)
    # Searches read their few images once.
    assert slow["search.sn1"] == seconds()["search.sn1"]


def test_rates_are_measured_without_touching_the_random_numbers_of_the_run():
    bench, graph, _ = opened()
    before = torch.random.get_rng_state()
    found = measure_rates(bench, graph)
    assert torch.equal(torch.random.get_rng_state(), before)
    # A gradient reads many images.
    assert found.gradient > 10 * found.candidate
    assert min(found.candidate, found.gradient, found.training, found.chain, found.reading) > 0
    assert reading_seconds(bench) < 1


@pytest.mark.parametrize(
    ("generation", "fresh", "done"),
    [
        (None, 0, 0.0),
        (None, 25, 0.25),
        (None, 99, 0.5),
        (0, 0, 0.5),
        (3, 0, 0.8),
        (3, 5, 0.85),
        (3, 99, 0.9),
        (5, 0, 1),
    ],
)
def test_the_share_of_a_search_counts_its_first_population_and_its_generations(generation, fresh, done):
    assert SearchSize(first=50, each=10).done(generation, fresh, 5) == pytest.approx(done)


def test_rates_are_measured_on_smaller_batches_where_memory_runs_out(monkeypatch):
    bench, graph, _ = opened("search.batch=64")
    tried = []

    class Small(rates.SubnetworkEvaluator):
        def __init__(self, graph, start, stop, inputs, *rest, **options):
            tried.append(len(inputs[0]))
            if len(inputs[0]) > 20:
                raise torch.OutOfMemoryError
            super().__init__(graph, start, stop, inputs, *rest, **options)

    monkeypatch.setattr(rates, "SubnetworkEvaluator", Small)
    assert measure_rates(bench, graph).candidate > 0
    assert tried == [64, 32, 16]


def test_a_network_that_cannot_be_trained_here_has_rates(monkeypatch):
    bench, graph, _ = opened()
    monkeypatch.setattr(rates, "cross_entropy", lambda logits, labels: logits.detach().sum())
    found = measure_rates(bench, graph)
    assert found.training == pytest.approx(rates.PASSES_OF_STEP * found.candidate)


def test_a_moment_of_other_work_does_not_count_in_a_rate(monkeypatch):
    clock = iter([0.0, 0.3, 1.0, 1.1, 2.0, 2.2])
    monkeypatch.setattr(rates, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert rates._seconds(lambda: None) == pytest.approx(0.1)
