from pathlib import Path

import numpy as np
import pytest
import torch

from emodir_tui.nets.evaluate import FeatureError, SubnetworkEvaluator
from emodir_tui.nets.stacked import StackedEvaluator
from emodir_tui.nets.subnetwork import divide
from emodir_tui.profile import load
from emodir_tui.stages.bench import Bench, open_bench
from emodir_tui.stages.evaluators import make_evaluator
from emodir_tui.stages.forms import Forms


@pytest.fixture(scope="module")
def bench() -> Bench:
    return open_bench(load(Path("profiles/digits.toml")))


def evaluator_of(bench: Bench, form: str, impairment=None):
    search = bench.profile.search.model_copy(update={"evaluator": form})
    bench.profile = bench.profile.model_copy(update={"search": search})
    torch.manual_seed(0)
    graph = bench.graph(bench.model().state_dict())
    part = divide(graph).subnetworks[0]
    inputs = [bench.example]
    outputs = [torch.zeros(2, *part.stop.shape[1:])]
    error = impairment or FeatureError(graph, part.stop, outputs)
    genes = np.concatenate([np.arange(graph.groups[n].start, graph.groups[n].stop) for n in part.groups])
    return make_evaluator(bench, "sn1", graph, (part.start, part.stop), inputs, error, genes)


class Other:
    def of(self, keep, outputs):
        return torch.zeros(())


def test_the_profile_says_which_form_and_a_cpu_slices(bench):
    assert isinstance(evaluator_of(bench, "sliced"), SubnetworkEvaluator)
    assert isinstance(evaluator_of(bench, "stacked"), StackedEvaluator)
    assert isinstance(evaluator_of(bench, "auto"), SubnetworkEvaluator)
    # Other impairments look at what is kept.
    assert isinstance(evaluator_of(bench, "stacked", Other()), SubnetworkEvaluator)


def test_a_measurement_decides_once(bench, monkeypatch):
    monkeypatch.setattr("emodir_tui.stages.evaluators.may_stack", lambda bench: True)
    seconds = {StackedEvaluator: 1.0, SubnetworkEvaluator: 2.0}
    monkeypatch.setattr("emodir_tui.stages.evaluators._seconds", lambda evaluator, masks: seconds[type(evaluator)])
    bench.forms = Forms()
    assert isinstance(evaluator_of(bench, "auto"), StackedEvaluator)
    seconds[StackedEvaluator] = 3.0
    assert isinstance(evaluator_of(bench, "auto"), StackedEvaluator)
    bench.forms = Forms()
    assert isinstance(evaluator_of(bench, "auto"), SubnetworkEvaluator)


def test_a_choice_is_kept_on_disk_and_a_broken_one_is_made_again(tmp_path):
    file = tmp_path / "forms.json"
    assert Forms(file).get("sn1", lambda: "stacked") == "stacked"
    assert Forms(file).get("sn1", lambda: "sliced") == "stacked"
    assert Forms(file).get("sn2", lambda: "sliced") == "sliced"
    assert Forms(file).get("sn1", lambda: "sliced") == "stacked"
    file.write_text('{"sn1": "folded"}')
    assert Forms(file).get("sn1", lambda: "sliced") == "sliced"
