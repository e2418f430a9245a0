"""Step 7: pick schemes, train for them once more, remove channels for good, recalibrate."""

import json
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from emodir_tui.arrays import Bools
from emodir_tui.bench import EVALUATION_BATCH, Bench, keep_all, weights_of
from emodir_tui.errors import EmodirError
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.execution.masked import MaskedNetwork
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.removal import ChannelConstant, remove, structure
from emodir_tui.results import Adapted, JointFront, Original, Pick, Pruned, Weights
from emodir_tui.runs.event_types import ChosenPick, PickRealised, PicksChosen, Progress
from emodir_tui.runs.names import CHAIN, PICKS, Complexity, StageName, result_name
from emodir_tui.runs.run import Run, step
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.chain_training import TrainedWeights, fit_chain
from emodir_tui.stages.support.pick_rules import REQUESTED, select_picks
from emodir_tui.stages.support.recalibration import recalibrate_on_training_images
from emodir_tui.training.metrics import accuracy

CHECK_IMAGES = 64
# Masked and removed networks differ by rounding only; a larger difference is an error of the removal.
LARGEST_DIFFERENCE = 1e-3
# Share of the steps of the last training that go to the picks of the rules. Measured: docs/decisions.md.
PICK_SHARE = 0.5


@step(StageName.REALISE, list[Pruned])
def realise(run: Run, bench: Bench, original: Original, adapted: Adapted, front: JointFront) -> list[Pruned]:
    """Train for the joint front, remove the channels of each pick, check that nothing else changed, and recalibrate."""
    picks = select_picks(run, bench, front)
    graph = bench.graph(_trained_weights(run, bench, original, adapted, front, picks))
    chosen = [ChosenPick(name=p.name, scheme=p.scheme, rule=p.rule, complexity_kept=p.complexity) for p in picks]
    run.emit(PicksChosen(picks=tuple(chosen)))
    pruned = []
    for number, pick in enumerate(picks, start=1):
        keep = front.keep_vectors[pick.scheme]
        prune = partial(_remove, run, bench, original, graph, pick, keep)
        made = run.part(result_name(StageName.REALISE, pick.name), Pruned, prune)
        pruned.append(made)
        run.emit(
            PickRealised(
                pick=pick.name,
                macs_kept=made.macs_kept,
                params_kept=made.params_kept,
                accuracy_recalibrated=made.accuracy_recalibrated,
                removal_max_difference=made.removal_max_difference,
            )
        )
        run.emit(
            Progress(
                stage=StageName.REALISE, step=number, steps=len(picks), unit="pick", note=pick.name,
                part=PICKS, done=number / len(picks),
            )
        )  # fmt: skip
        run.check()
    return pruned


def _trained_weights(
    run: Run, bench: Bench, original: Original, adapted: Adapted, front: JointFront, picks: list[Pick]
) -> Weights:
    """The weights that every scheme of the joint front is cut from."""
    steps = bench.profile.constrain.final_steps
    if not steps:
        return adapted.weights
    # Not the requested ones: whenever a pick is requested, the run trains the same weights.
    ruled = [pick.scheme for pick in picks if pick.rule != REQUESTED]
    schemes = _FrontSchemes(front, ruled, derive_seed(bench.profile.seed, "realise"))
    fit = partial(fit_chain, run, bench, original, adapted.weights, schemes, stage=StageName.REALISE, steps=steps)
    fitted = run.part(result_name(StageName.REALISE, CHAIN), TrainedWeights, fit)
    return fitted.weights


@dataclass(frozen=True, slots=True)
class _FrontSchemes:
    """The scheme of each training step: a pick in half of the steps, else one drawn evenly over the front's complexities."""

    front: JointFront
    picks: list[int]
    seed: int

    def __call__(self, step: int) -> Bools:
        kept = self.front.objectives[:, 0]
        draws = np.random.default_rng(derive_seed(self.seed, "scheme", step))
        wanted = draws.uniform(kept.min(), kept.max())
        # More schemes may be requested at any time, so the picks do not get all steps.
        is_pick = draws.random() < PICK_SHARE and self.picks
        scheme = self.picks[draws.integers(len(self.picks))] if is_pick else np.argmin(np.abs(kept - wanted))
        return np.asarray(self.front.keep_vectors[scheme])


def _remove(run: Run, bench: Bench, original: Original, graph: ChannelGraph, pick: Pick, keep: np.ndarray) -> Pruned:
    difference = _removal_difference(graph, keep, next(bench.data.search.first(CHECK_IMAGES).batches(CHECK_IMAGES))[0])
    if not difference < LARGEST_DIFFERENCE:
        raise EmodirError(
            f"pick '{pick.name}': the removed network's output differs from the masked one's by {difference:.2g}",
            "This is an error in emodir, and no network is given out; please report the model.",
        )
    model = remove(graph, keep, statistics="running")
    for module in model.modules():
        if isinstance(module, ChannelConstant):
            module.recalibrate()
    recalibrate_on_training_images(bench, model)
    params = sum(weight.numel() for weight in model.parameters())
    macs = round(float(_macs(graph, keep)))
    return Pruned(
        pick=pick,
        structure=json.dumps(structure(graph, keep)),
        weights=weights_of(model),
        macs=macs,
        params=params,
        macs_kept=macs / round(float(_macs(graph, keep_all(graph)[0]))),
        params_kept=params / original.params,
        removal_max_difference=difference,
        accuracy_recalibrated=accuracy(model, bench.data.test, EVALUATION_BATCH, run.check),
    )


@torch.no_grad()
def _removal_difference(graph: ChannelGraph, keep: np.ndarray, inputs: Tensor) -> float:
    """The largest difference between the removed network's output and the masked one's, relative to its largest value."""
    masked = MaskedNetwork(graph, None, None, statistics="running")
    gates = torch.from_numpy(keep).to(inputs.device, torch.float32)
    model: nn.Module = remove(graph, keep, statistics="running").eval()
    # TensorFloat-32 rounds each side its own way, by as much as an error of the removal might.
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=torch.backends.cudnn.deterministic, allow_tf32=False
    ):
        expected, found = masked(inputs, gates), model(inputs)
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))


def _macs(graph: ChannelGraph, keep: np.ndarray) -> float:
    return float(ComplexityModel(graph, Complexity.MACS).measure(keep[None])[0])
