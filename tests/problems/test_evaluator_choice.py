from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from emodir_tui.bench import Bench, open_bench
from emodir_tui.errors import ProfileError
from emodir_tui.nets.division import divide_network
from emodir_tui.nets.execution.evaluators import FeatureError, SubnetworkEvaluator
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.execution.stacked import StackedEvaluator, UnstackableError
from emodir_tui.problems.evaluator_choice import EvaluatedSpan
from emodir_tui.problems.genes import gene_positions
from emodir_tui.profile import load


@pytest.fixture(scope="module")
def bench() -> Bench:
    return open_bench(load(Path("profiles/digits.toml")))


def with_form(bench: Bench, form: str) -> Bench:
    search = bench.profile.search.model_copy(update={"evaluator": form})
    return replace(bench, profile=bench.profile.model_copy(update={"search": search}))


def span_of(bench: Bench, impairment=None) -> EvaluatedSpan:
    torch.manual_seed(0)
    graph = bench.graph(bench.model().state_dict())
    part = divide_network(graph).subnetworks[0]
    varying = np.zeros(graph.genes, dtype=np.bool_)
    varying[gene_positions(graph, part.groups)] = True
    network = SlicedNetwork(graph, part.start, part.stop)
    network.select(np.ones(graph.genes, dtype=bool))
    with torch.no_grad():
        error = FeatureError(graph, part.stop, [network(bench.example)])
    return EvaluatedSpan(
        name="sn1",
        graph=graph,
        start=part.start,
        stop=part.stop,
        inputs=[bench.example],
        impairment=impairment or error,
        varying=varying,
    )


def evaluator_of(bench: Bench, form: str, impairment=None):
    return span_of(bench, impairment).evaluator(with_form(bench, form))


class Other:
    def measure(self, keep, outputs):
        return torch.zeros(())


def test_the_profile_says_which_form_and_a_cpu_slices(bench):
    assert isinstance(evaluator_of(bench, "sliced"), SubnetworkEvaluator)
    assert isinstance(evaluator_of(bench, "stacked"), StackedEvaluator)
    assert isinstance(evaluator_of(bench, "auto"), SubnetworkEvaluator)
    # Other impairments look at what is kept.
    assert isinstance(evaluator_of(bench, "stacked", Other()), SubnetworkEvaluator)


@pytest.fixture
def measured(monkeypatch):
    """Seconds that each form is made to take, where masks are measured as on an accelerator."""
    seconds = {"StackedEvaluator": 1.0, "SubnetworkEvaluator": 2.0}
    of = "emodir_tui.problems.evaluator_choice"

    monkeypatch.setattr(f"{of}._seconds", lambda evaluator, _: seconds[type(evaluator).__name__])
    return seconds


def on_accelerator(bench):
    said = []
    return SimpleNamespace(
        profile=bench.profile,
        device=SimpleNamespace(type="accelerator"),
        search_dtype=bench.search_dtype,
        decide=lambda name, measure: measure(),
        said=said,
        log=lambda text, level: said.append((level, text)),
    )


def test_elsewhere_the_faster_one_is_taken(bench, measured):
    span = span_of(bench)
    other = on_accelerator(with_form(bench, "auto"))
    assert isinstance(span.evaluator(other), StackedEvaluator)
    measured["StackedEvaluator"] = 3.2
    assert isinstance(span.evaluator(other), SubnetworkEvaluator)
    assert other.said[-1] == ("info", "sn1: a mask takes stacked 200.00 ms, sliced 125.00 ms")


def test_what_was_decided_is_not_measured_again(bench, measured, monkeypatch):
    span = span_of(bench)
    other = on_accelerator(with_form(bench, "auto"))
    asked = []
    other.decide = lambda name, measure: asked.append(name) or "stacked"
    measured.clear()
    # Nor is the other form made, whose features would take memory.
    monkeypatch.setattr("emodir_tui.problems.evaluator_choice.SubnetworkEvaluator", None)
    assert isinstance(span.evaluator(other), StackedEvaluator)
    assert asked == ["sn1.form"]


def test_a_network_that_stacking_gets_wrong_or_fails_on_is_sliced(bench, measured, monkeypatch):
    span = span_of(bench)
    other = on_accelerator(with_form(bench, "auto"))
    monkeypatch.setattr(StackedEvaluator, "evaluate", lambda self, masks: np.zeros(len(masks)))
    assert isinstance(span.evaluator(other), SubnetworkEvaluator)
    assert "because stacking fails: its values are off by up to" in other.said[-1][1]

    def fails(self, masks):
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(StackedEvaluator, "evaluate", fails)
    assert isinstance(span.evaluator(other), SubnetworkEvaluator)
    assert other.said[-1][0] == "warning"
    assert other.said[-1][1].endswith("stacking fails: too much")


def test_stacking_that_is_asked_for_and_impossible_is_told(bench, monkeypatch):
    span = span_of(bench)

    def refuse(self, memory):
        raise UnstackableError("Norm normalises over its batch in a way of its own")

    monkeypatch.setattr(StackedEvaluator, "_precompute", refuse)
    asked = with_form(bench, "stacked")
    with pytest.raises(ProfileError, match=r"search\.evaluator is 'stacked', but Norm"):
        span.evaluator(asked)
