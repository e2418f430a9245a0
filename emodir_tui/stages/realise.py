"""Step 7 and the first half of 8: pick schemes, train for them once more, remove channels for good, set the statistics anew."""

import json
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from emodir_tui.arrays import Bools
from emodir_tui.bench import EVALUATION_BATCH, Bench, keep_all, latency_example, weights_of
from emodir_tui.emo.front import knee
from emodir_tui.errors import EmodirError
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.execution.masked import MaskedNetwork
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.measures.latency import measure
from emodir_tui.nets.removal import ChannelConstant, remove, structure
from emodir_tui.profile import parse_rule
from emodir_tui.results import Adapted, JointFront, Original, Pick, Pruned, SelectedPicks, Weights
from emodir_tui.runs.event_types import ChosenPick, PickRealised, PicksChosen, Progress
from emodir_tui.runs.names import CHAIN, StageName, result_name
from emodir_tui.runs.picks import drop_pick, extra_picks
from emodir_tui.runs.run import Run, step
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.chain_training import Draw, TrainedWeights, fit_chain
from emodir_tui.stages.support.recalibration import recalibrate_on_training_images
from emodir_tui.training.metrics import accuracy

CHECK_IMAGES = 64
# Masked and removed differ by rounding only; more than this is an error of the removal, and no network is given out.
LARGEST_DIFFERENCE = 1e-3
# Share of the last training's steps that are made in what the rules chose. Measured: docs/decisions.md.
PICKED = 0.5
ASKED_FOR = "asked for"


@step(StageName.REALISE, list[Pruned])
def realise(run: Run, bench: Bench, original: Original, adapted: Adapted, front: JointFront) -> list[Pruned]:
    """Train for the joint front, remove the channels of each pick, check that nothing else changed, and recalibrate."""
    picks = choose(run, bench, original, front)
    graph = bench.graph(_trained(run, bench, original, adapted, front, picks))
    chosen = [ChosenPick(name=p.name, scheme=p.scheme, rule=p.rule, complexity_kept=p.complexity) for p in picks]
    run.emit(PicksChosen(picks=tuple(chosen)))
    pruned = []
    for number, pick in enumerate(picks, start=1):
        keep = front.keep_vectors[pick.scheme]
        pruned.append(
            run.part(
                result_name(StageName.REALISE, pick.name), Pruned, partial(_remove, bench, original, graph, pick, keep)
            )
        )
        made = pruned[-1]
        run.emit(
            PickRealised(
                pick=pick.name,
                macs_kept=made.macs_kept,
                params_kept=made.params_kept,
                accuracy_recalibrated=made.accuracy_recalibrated,
                removal_max_difference=made.removal_max_difference,
            )
        )
        if not bench.profile.constrain.final_steps:
            # Else the stage's progress is that of its training, which takes nearly all of its time.
            run.emit(Progress(stage=StageName.REALISE, step=number, steps=len(picks), unit="pick", note=pick.name))
        run.check()
    return pruned


def _trained(
    run: Run, bench: Bench, original: Original, adapted: Adapted, front: JointFront, picks: list[Pick]
) -> Weights:
    """The weights that every scheme of the joint front is cut from."""
    steps = bench.profile.constrain.final_steps
    if not steps:
        return adapted.weights
    # Not what was asked for: whenever that was, the run trains the same weights.
    ruled = [pick.scheme for pick in picks if pick.rule != ASKED_FOR]
    draw = drawn_from(front, ruled, derive_seed(bench.profile.seed, "realise"))
    fit = partial(fit_chain, run, bench, original, adapted.weights, draw, stage=StageName.REALISE, steps=steps)
    fitted = run.part(result_name(StageName.REALISE, CHAIN), TrainedWeights, fit)
    # Where it was made before, nothing has told that this is done.
    run.emit(Progress(stage=StageName.REALISE, step=steps, steps=steps, unit="step", note=CHAIN))
    return fitted.weights


def drawn_from(front: JointFront, picks: list[int], seed: int) -> Draw:
    """Schemes of the front: half of the steps a pick, the others evenly over the front's complexities.

    Args:
        front: The joint front.
        picks: Numbers of the schemes that the profile's rules chose; perhaps none.
        seed: Of the draws.
    """
    kept = front.objectives[:, 0]

    def draw(step: int) -> Bools:
        draws = np.random.default_rng(derive_seed(seed, "scheme", step))
        wanted = draws.uniform(kept.min(), kept.max())
        # More schemes may be asked for at any time, so the picks do not get all steps.
        picked = draws.random() < PICKED and picks
        scheme = picks[draws.integers(len(picks))] if picked else np.argmin(np.abs(kept - wanted))
        return np.asarray(front.keep_vectors[scheme])

    return draw


def choose(run: Run, bench: Bench, original: Original, front: JointFront) -> list[Pick]:
    """The schemes that the profile's rules choose, then those that somebody asked for; each scheme once.

    What the rules choose is kept: latencies vary, and a resumed run, or one that makes a further pick, must not change
    its mind.

    Raises:
        EmodirError: No rule can be satisfied, and nothing was asked for.
    """
    by_rules = run.part(
        result_name(StageName.REALISE, "rules"),
        SelectedPicks,
        lambda: SelectedPicks(picks=_by_rules(run, bench, original, front)),
    )
    picks = {pick.scheme: pick for pick in by_rules.picks}
    for scheme in extra_picks(run.directory):
        if not 0 <= scheme < len(front.keep_vectors):
            run.log(f"there is no scheme {scheme} in the joint front; it is left out", "warning", "realise")
            drop_pick(run.directory, scheme)
        elif scheme not in picks:
            picks[scheme] = _pick(front, scheme, ASKED_FOR, f"scheme-{scheme}")
    return list(picks.values())


def _by_rules(run: Run, bench: Bench, original: Original, front: JointFront) -> list[Pick]:
    # Weights do not matter to any rule.
    graph = bench.graph(original.weights)
    picks: dict[int, Pick] = {}
    for rule in bench.profile.pick.rules:
        scheme = _by_rule(bench, graph, front, rule)
        if scheme is None:
            run.log(f"no scheme of the joint front satisfies pick rule '{rule}'; it is left out", "warning", "realise")
        elif scheme in picks:
            run.log(f"pick rule '{rule}' chooses the same scheme as '{picks[scheme].rule}'", stage="realise")
        else:
            picks[scheme] = _pick(front, scheme, rule, rule.replace("=", "-"))
    if not picks and not extra_picks(run.directory):
        raise EmodirError(
            "no pick rule can be satisfied by any scheme of the joint front",
            "Loosen pick.rules, or search longer; 'knee' can always be satisfied.",
        )
    return list(picks.values())


def _pick(front: JointFront, scheme: int, rule: str, name: str) -> Pick:
    return Pick(name=name, rule=rule, scheme=scheme, complexity=float(front.objectives[scheme, 0]))


def _by_rule(bench: Bench, graph: ChannelGraph, front: JointFront, rule: str) -> int | None:
    name, limit = parse_rule(rule)
    if name == "knee":
        return int(knee(front.objectives))
    if name == "max_accuracy_drop":
        fitting = np.flatnonzero(front.original_accuracy - front.accuracies <= limit)
        return int(fitting[np.argmin(front.objectives[fitting, 0])]) if len(fitting) else None
    measure_scheme = _measure(bench, graph, front, name)
    by_impairment = np.argsort(front.objectives[:, 1], kind="stable")
    # From the least damaged on: the first that fits the budget is the best that does.
    return next((int(scheme) for scheme in by_impairment if measure_scheme(int(scheme)) <= limit), None)


def _measure(bench: Bench, graph: ChannelGraph, front: JointFront, name: str) -> Callable[[int], float]:
    if name == "max_latency_ms":
        example = latency_example(bench)
        return lambda scheme: measure(remove(graph, front.keep_vectors[scheme], statistics="batch").eval(), example)
    model = ComplexityModel(graph, "macs" if name == "max_macs" else "params")
    whole = float(model.measure(keep_all(graph))[0])
    shares = model.measure(front.keep_vectors) / whole
    return lambda scheme: float(shares[scheme])


def _remove(bench: Bench, original: Original, graph: ChannelGraph, pick: Pick, keep: np.ndarray) -> Pruned:
    difference = removal_difference(graph, keep, next(bench.data.search.first(CHECK_IMAGES).batches(CHECK_IMAGES))[0])
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
        accuracy_recalibrated=accuracy(model, bench.data.test, EVALUATION_BATCH),
    )


@torch.no_grad()
def removal_difference(graph: ChannelGraph, keep: np.ndarray, inputs: Tensor) -> float:
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
    return float(ComplexityModel(graph, "macs").measure(keep[None])[0])
