"""Cost of a candidate and time to a front, compared with a solution built from general tools.

    python benchmarks/search.py [--quick] [--networks resnet20 …]
        [--reaching resnet20=FILE resnet56=FILE --data folder:PATH --mean … --std …]

(a) Candidates per second of the sub-network evaluator, compared with NSGA-II by pymoo on a problem that copies the network,
prunes the copy with Torch-Pruning and runs it whole; and with the bare forward pass of the sliced sub-network in the same
precision, the limit. Both forms of the evaluator are measured, sliced and stacked. emodir's is the sliced one on a CPU, and
for each sub-network the faster one on a GPU, as in a run. Networks and images are random: only shapes matter.
(b) For networks with weights, seconds to the hypervolume that NSGA-II over the whole network reaches in its full budget, and
the agreement of impairments in bfloat16 and in full precision. (c) The growth of both with depth. (d) Memory of both.

All sides are measured in turns on the same images, with the same new masks in each turn; the limit keeps those of the first
turn. Measurements of other networks in --out are kept.
"""

import argparse
import copy
import dataclasses
import json
import multiprocessing
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import made_on
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import ElementwiseProblem
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.mutation.bitflip import BitflipMutation
from pymoo.optimize import minimize
from torch import Tensor, nn

from emodir_tui.bench import Bench, choose_device, configure_torch, keep_all, open_bench
from emodir_tui.emo.front import hypervolume, non_dominated
from emodir_tui.emo.nsga2 import Nsga2
from emodir_tui.emo.position_space import PositionSpace
from emodir_tui.emo.space import keys
from emodir_tui.nets.coupling.channel_graph import ChannelGraph, analyse
from emodir_tui.nets.division import Division, SubnetworkSpan, divide_network
from emodir_tui.nets.execution.evaluators import FeatureError, SubnetworkEvaluator
from emodir_tui.nets.execution.parallel import map_parallel, workers_for
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.execution.stacked import MAX_CANDIDATES, StackedEvaluator
from emodir_tui.nets.measures.importance import taylor
from emodir_tui.nets.modules.precision import has_fast_bfloat16
from emodir_tui.nets.removal import remove
from emodir_tui.nets.sources.models import load_model
from emodir_tui.nets.tracing.network import trace
from emodir_tui.problems.gene_by_gene import GUIDED_PARENTS, GeneByGeneProblem
from emodir_tui.problems.genes import gene_positions
from emodir_tui.problems.members import FrontMembers, MembersProblem, combine
from emodir_tui.problems.network import NetworkProblem
from emodir_tui.problems.subnetwork import SubnetworkProblem, unpruned_outputs
from emodir_tui.profile import validate
from emodir_tui.stages.support.search_loop import first_state
from emodir_tui.training.losses import cross_entropy

HERE = Path(__file__).parent
TURNS = 3
FORMS = ("sliced", "stacked")
REACHING_IMAGES, JOINT_GENERATIONS = 250, 5


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="ResNet-20 with random weights, few images and masks")
    parser.add_argument("--networks", nargs="*", default=["resnet20", "resnet56", "resnet110"])
    parser.add_argument("--reaching", nargs="+", default=[], help="NETWORK=FILE with weights, for (b)")
    parser.add_argument("--data", default="")
    parser.add_argument("--mean", type=float, nargs="+", default=[])
    parser.add_argument("--std", type=float, nargs="+", default=[])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument(
        "--masks", type=int, default=12, help="masks for each sub-network; 16 on a GPU, which stacks 16 in a pass"
    )
    parser.add_argument("--generations", type=int, default=70, help="the whole-network search's full budget in (b)")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.networks, arguments.images, arguments.masks = ["resnet20"], 64, 4
    out = arguments.out or HERE / "results" / f"search{'-quick' if arguments.quick else ''}.json"
    found: dict[str, Any] = {"candidates": {}, "memory": {}, "reaching": {}}
    if out.exists():
        found = json.loads(out.read_text())
    for name in arguments.networks:
        found["candidates"][name] = candidates(name, arguments.images, arguments.masks)
        print(json.dumps(found["candidates"][name]), flush=True)
    if arguments.networks:
        found["about"] = about(arguments)
        found["memory"] = memory(arguments.networks[0], arguments.images)
        print(json.dumps(found["memory"]), flush=True)
    keep(out, found)
    for given in arguments.reaching:
        name, _, weights = given.partition("=")
        found["reaching"][name] = {"about": about(arguments), **reaching(name, weights, arguments)}
        print(json.dumps({**found["reaching"][name], "whole_network": None, "emodir": None}), flush=True)
        keep(out, found)


def keep(out: Path, found: dict[str, Any]) -> None:
    """Write the measurements made so far."""
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")


def candidates(name: str, images: int, masks: int) -> dict[str, Any]:
    """(a) for one network: milliseconds per candidate, the mean over its sub-networks; the best of a few turns."""
    graph, batches, division = network(name, images)
    draws = np.random.default_rng(0)
    device = batches[0].device
    dtypes = {"full": torch.float32}
    if has_fast_bfloat16(device):
        dtypes["bfloat16"] = torch.bfloat16
    best: dict[str, list[float]] = defaultdict(list)
    features = batches
    for part in division.subnetworks:
        problem = GeneralTool(graph, part, batches)
        # New masks in each turn: a search never repeats a mask, and a GPU's libraries cache what they learn about a shape.
        keep_vectors = [random_masks(graph, part, draws, masks) for _ in range(TURNS)]
        outputs = reference_of(graph, part, features, torch.float32)[1]
        varying = ~np.concatenate(keep_vectors).all(axis=0)
        sides: dict[str, Callable[[int], object]] = {}
        sides["general"] = lambda turn, p=problem, k=keep_vectors: p.run(k[turn])
        for precision, dtype in dtypes.items():
            given = (graph, part.start, part.stop, features, reference_of(graph, part, features, dtype)[0])
            forms: dict[str, SubnetworkEvaluator | StackedEvaluator] = {
                "sliced": SubnetworkEvaluator(*given, varying=varying, dtype=dtype),
                "stacked": StackedEvaluator(
                    *given, varying=varying, dtype=dtype, candidates=min(masks, MAX_CANDIDATES)
                ),
            }
            for form, evaluator in forms.items():
                sides[f"{form}, {precision}"] = lambda turn, e=evaluator, k=keep_vectors: e.evaluate(k[turn])
            networks = [bare_network(graph, part, keep, dtype) for keep in keep_vectors[0]]
            sides[f"bare, {precision}"] = lambda _, n=networks, f=features, d=dtype: bare_pass(n, [b.to(d) for b in f])
        taken: dict[str, list[float]] = defaultdict(list)
        for turn in range(TURNS):
            for side, work in sides.items():
                began = time.perf_counter()
                work(turn)
                wait(device)
                taken[side].append((time.perf_counter() - began) / masks * 1e3)
        for side, seconds in taken.items():
            best[side].append(min(seconds))
        for precision in dtypes:
            times = [best[f"{form}, {precision}"][-1] for form in FORMS]
            best[f"ours, {precision}"].append(times[0] if device.type == "cpu" else min(times))
        features = outputs
    sums = {side: float(np.sum(values)) for side, values in best.items()}
    parts = len(division.subnetworks)
    return {
        "subnetworks": parts,
        "general_ms": round(sums["general"] / parts, 2),
        **{
            precision: {
                "ours_ms": round(sums[f"ours, {precision}"] / parts, 2),
                **{f"{form}_ms": round(sums[f"{form}, {precision}"] / parts, 2) for form in FORMS},
                "bare_ms": round(sums[f"bare, {precision}"] / parts, 2),
                "times_faster": round(sums["general"] / sums[f"ours, {precision}"], 2),
                "share_of_limit": round(sums[f"bare, {precision}"] / sums[f"ours, {precision}"], 3),
            }
            for precision in dtypes
        },
    }


def network(name: str, images: int) -> tuple[ChannelGraph, list[Tensor], Division]:
    """A network with random weights, its division, and batches of noise."""
    torch.manual_seed(0)
    device = choose_device("auto")
    model = load_model(name, "", 10).eval().to(device).to(memory_format=torch.channels_last)
    x = torch.randn(images, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    graph = analyse(trace(model, x[:2]))
    return graph, list(x.chunk(max(1, round(images / 125)))), divide_network(graph)


def random_masks(graph: ChannelGraph, part: SubnetworkSpan, draws: np.random.Generator, masks: int) -> np.ndarray:
    """Keep vectors that keep half of a sub-network."""
    own = gene_positions(graph, part.groups)
    keep_vectors = keep_all(graph, masks)
    keep_vectors[:, own] = draws.random((masks, len(own))) < 0.5
    for number in part.groups:
        keep_vectors[:, graph.groups[number].start] = True
    return keep_vectors


def reference_of(
    graph: ChannelGraph, part: SubnetworkSpan, features: list[Tensor], dtype: torch.dtype
) -> tuple[FeatureError, list[Tensor]]:
    """The error measure of a sub-network's output, and the original output."""
    span = SlicedNetwork(graph, part.start, part.stop, dtype=dtype)
    span.select(keep_all(graph)[0])
    with torch.no_grad():
        outputs = [span(batch) for batch in features]
    return FeatureError(graph, part.stop, outputs), outputs


def bare_network(graph: ChannelGraph, part: SubnetworkSpan, keep: np.ndarray, dtype: torch.dtype) -> nn.Module:
    """The sub-network of a network without these channels, in evaluation mode, so that nothing is gathered."""
    smaller = remove(graph, keep, statistics="running").eval().to(memory_format=torch.channels_last)
    removed = analyse(trace(smaller, graph.network.example))
    by_name = {cut.name: cut for cut in removed.network.cuts}
    by_name.update({alias: cut for cut in removed.network.cuts for alias in cut.aliases})
    start, stop = (None if cut is None else by_name[cut.name] for cut in (part.start, part.stop))
    span = SlicedNetwork(removed, start, stop, statistics="running", dtype=dtype)
    span.select(keep_all(removed)[0])
    return span


def bare_pass(networks: list[nn.Module], features: list[Tensor]) -> None:
    """Forward passes only, on the same number of threads."""

    @torch.no_grad()
    def one(_: int, network: nn.Module) -> None:
        for batch in features:
            network(batch)

    map_parallel(one, networks, list(range(workers_for(features[0].device))))


class GeneralTool(ElementwiseProblem):
    """A candidate by general tools: copy the network, prune the copy, run the whole copy."""

    def __init__(self, graph: ChannelGraph, part: SubnetworkSpan, batches: list[Tensor]) -> None:
        self.genes = gene_positions(graph, part.groups)
        super().__init__(n_var=len(self.genes), n_obj=2, xl=0, xu=1, vtype=bool)
        # The defaults of the tool: contiguous memory format, whole batches.
        self.model = copy.deepcopy(graph.network.model).to(memory_format=torch.contiguous_format)
        self.groups = [graph.groups[number] for number in part.groups]
        self.batches = [batch.contiguous() for batch in batches]
        with torch.no_grad():
            self.references = [self.model(batch) for batch in self.batches]

    def run(self, keep_vectors: np.ndarray) -> None:
        """Evaluate one candidate for each keep vector, by pymoo."""
        first = keep_vectors[:, self.genes]
        algorithm = NSGA2(
            pop_size=len(first), sampling=first, crossover=TwoPointCrossover(), mutation=BitflipMutation()
        )
        minimize(self, algorithm, ("n_gen", 1), seed=0)

    @torch.no_grad()
    def _evaluate(self, x: np.ndarray, out: dict[str, Any], *_: Any, **__: Any) -> None:
        import torch_pruning

        model = copy.deepcopy(self.model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.enable_grad():
                tree = torch_pruning.DependencyGraph().build_dependency(model, self.batches[0][:1])
            at = 0
            for group in self.groups:
                size = group.stop - group.start
                gone = np.flatnonzero(~x[at : at + size].astype(bool)).tolist()
                at += size
                layer = model.get_submodule(group.producers[0])
                # The tool prunes groups that are coupled through an option-A shortcut wrongly, so these are left out.
                if gone and len(gone) < size and len(group.producers) == 1:
                    tree.get_pruning_group(layer, torch_pruning.prune_conv_out_channels, idxs=gone).prune()
        error = sum(
            float((model(batch) - wanted).square().sum())
            for batch, wanted in zip(self.batches, self.references, strict=True)
        )
        out["F"] = [float(x.mean()), error]


def memory(name: str, images: int) -> dict[str, Any]:
    """(d): growth of the largest memory of a process that evaluates a few candidates, in MB; device memory on a GPU."""
    context = multiprocessing.get_context("spawn")
    found = {}
    for side in ("ours", "general"):
        with context.Pool(1) as pool:
            found[f"{side}_mb"] = round(pool.apply(_grown, (side, name, images)), 1)
    return {"network": name, "images": images, **found}


def _grown(side: str, name: str, images: int) -> float:
    graph, batches, division = network(name, images)
    draws = np.random.default_rng(0)
    part = division.subnetworks[0]
    with torch.no_grad():
        graph.network.model(batches[0][:2])
    device = batches[0].device
    forget_peak(device)
    before = peak(device)
    keep_vectors = random_masks(graph, part, draws, 8)
    if side == "ours":
        dtype = torch.bfloat16 if has_fast_bfloat16(batches[0].device) else torch.float32
        error, _ = reference_of(graph, part, batches, dtype)
        varying = ~keep_vectors.all(axis=0)
        SubnetworkEvaluator(graph, part.start, part.stop, batches, error, varying=varying, dtype=dtype).evaluate(
            keep_vectors
        )
    else:
        GeneralTool(graph, part, batches).run(keep_vectors)
    return (peak(device) - before) / 1e6


def forget_peak(device: torch.device) -> None:
    """Reset the peak memory to the present value."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        # Linux resets the peak to the present resident size.
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> int:
    """Peak memory in bytes: tensors on a GPU, otherwise the resident size."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def wait(device: torch.device) -> None:
    """Wait until a GPU has finished; the work of a CPU is finished on return."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reaching(name: str, weights_file: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """(b): seconds until EMO-DIR's joint hypervolume equals the final one of a whole-network search."""
    settings = {
        "model": {"source": name, "weights": weights_file},
        "data": {"source": arguments.data, "mean": arguments.mean, "std": arguments.std},
        "joint": {"capacity": 0.0},
    }
    profile = validate(settings, "benchmark")
    configure_torch(profile, choose_device(profile.device))
    bench = open_bench(profile)
    graph = bench.architecture
    division = divide_network(graph)
    network = network_problem(bench, graph, division)
    importance = taylor(graph, bench.batches(bench.data.search, 500, 125), cross_entropy)
    problem = GeneByGeneProblem(network, importance)
    emptiest = problem.keep_vectors(problem.genome.emptiest[None])
    reference = (1.0, float(network.feature_errors(emptiest)[0]))
    plain = whole_network(problem, reference, arguments.generations)
    budget = plain[-1][0]
    course = divided(bench, problem, reference, budget / 2)
    guided = whole_network(problem, reference, arguments.generations, seconds=budget)
    targets = {"plain": plain[-1][1], "guided": guided[-1][1]}
    reached = {
        side: next((seconds for seconds, value in course if value >= target), None) for side, target in targets.items()
    }
    return {
        "images": REACHING_IMAGES,
        "generations": arguments.generations,
        "precision": str(bench.search_dtype).removeprefix("torch."),
        "agreement": agreement(bench, division),
        "whole_network": {"plain": rounded(plain), "guided": rounded(guided)},
        "emodir": rounded(course),
        "reached_s": reached,
    }


def network_problem(bench: Bench, graph: ChannelGraph, division: Division) -> NetworkProblem:
    """The whole network on a few images of the search split."""
    batches = bench.batches(bench.data.search, REACHING_IMAGES, 125)
    return NetworkProblem(bench, graph, graph, division, bench.complexity(), batches)


def agreement(bench: Bench, division: Division) -> dict[str, float]:
    """Spearman's rank correlation between impairments in bfloat16 and in full precision, and their largest difference.

    Of 100 random schemes of the whole network that keep 20 to 100 % of each group.
    """
    draws = np.random.default_rng(0)
    errors = []
    for precision in ("full", "bfloat16"):
        settings = bench.profile.model_copy(
            update={"search": bench.profile.search.model_copy(update={"precision": precision})}
        )
        other = dataclasses.replace(bench, profile=settings)
        torch.backends.cudnn.allow_tf32 = precision != "full"
        network = network_problem(other, bench.architecture, division)
        if not errors:
            keep_vectors = np.repeat(keep_all(network.graph), 100, axis=0)
            for part in network.division.subnetworks:
                for group in (network.graph.groups[number] for number in part.groups):
                    size = group.stop - group.start
                    for keep, share in zip(keep_vectors, np.linspace(0.2, 1.0, 100), strict=True):
                        keep[group.start + draws.permutation(size)[max(1, round(size * share)) :]] = False
        errors.append(network.feature_errors(keep_vectors))
    full, reduced = errors
    places = [np.argsort(np.argsort(values)) for values in errors]
    return {
        "rank_correlation": float(np.corrcoef(*places)[0, 1]),
        "largest_difference": float(np.abs(full - reduced).max() / full.max()),
    }


Course = list[tuple[float, float]]


def whole_network(
    problem: GeneByGeneProblem, reference: tuple[float, float], generations: int, seconds: float = 0.0
) -> Course:
    """NSGA-II over all genes at once with the same evaluator, seeding and operators: (seconds, hypervolume).

    With `seconds` it has the descent and the guided children besides, and this much time instead of the generations.
    """
    nsga2 = problem.search(0, GUIDED_PARENTS if seconds else 0)
    began = time.perf_counter()
    objectives = problem.objectives
    state = nsga2.begin_with_descent(objectives) if seconds else first_state(nsga2, objectives)
    course = [(time.perf_counter() - began, hypervolume(state.seen_objectives, reference))]
    while course[-1][0] < seconds if seconds else state.generation < generations:
        children = nsga2.ask(state)
        state = nsga2.tell(state, children, objectives(children))
        course.append((time.perf_counter() - began, hypervolume(state.seen_objectives, reference)))
    return course


def divided(bench: Bench, whole: GeneByGeneProblem, reference: tuple[float, float], budget: float) -> Course:
    """EMO-DIR with short searches: sub-networks, ranking, joint, polishing; (seconds, joint hypervolume)."""
    began = time.perf_counter()
    network = whole.network
    members = short_fronts(bench, network, whole.importance)
    walkable = [
        (1 - network.complexity(front.keep_vectors), network.feature_errors(front.keep_vectors)) for front in members
    ]
    nsga2 = Nsga2(PositionSpace(walkable), population=48, seed=0)
    positions = MembersProblem(network=network, members=members)
    state = first_state(nsga2, positions.objectives)
    course = [(time.perf_counter() - began, hypervolume(state.seen_objectives, reference))]
    for _ in range(JOINT_GENERATIONS):
        children = nsga2.ask(state)
        state = nsga2.tell(state, children, positions.objectives(children))
        course.append((time.perf_counter() - began, hypervolume(state.seen_objectives, reference)))
    front = nsga2.front(state)
    search = whole.search(0, GUIDED_PARENTS)
    first = combine(members, state.seen[front])[:, whole.genes]
    passed, measured = search.descend(whole.objectives)
    known = set(keys(first))
    fresh = [key not in known for key in keys(passed)]
    polished = search.begin(
        np.concatenate([first, passed[fresh]]),
        np.concatenate([state.seen_objectives[front], measured[fresh]]),
        reference,
    )
    course.append((time.perf_counter() - began, polished.hypervolumes[-1]))
    while course[-1][0] < budget:
        children = search.ask(polished)
        polished = search.tell(polished, children, whole.objectives(children))
        course.append((time.perf_counter() - began, polished.hypervolumes[-1]))
    return course


def short_fronts(bench: Bench, network: NetworkProblem, importance: np.ndarray) -> list[FrontMembers]:
    """The front of each sub-network after a descent."""
    graph = network.graph
    inputs = [pixels for pixels, _ in bench.batches(bench.data.search, REACHING_IMAGES, 125)]
    members = []
    for part in network.division.subnetworks:
        outputs = unpruned_outputs(bench, graph, part, inputs)
        problem = SubnetworkProblem(
            bench=bench,
            original=graph,
            graph=graph,
            part=part,
            importance=importance,
            complexity_model=network.complexity_model,
            inputs=inputs,
            outputs=outputs,
        )
        state = problem.search().begin_with_descent(problem.objectives)
        chosen = non_dominated(state.seen_objectives)
        members.append(
            FrontMembers(
                name=part.name,
                keep_vectors=problem.keep_vectors(state.seen[chosen]),
                local_impairments=state.seen_objectives[chosen, 1],
            )
        )
        inputs = outputs
    return members


def rounded(course: Course) -> Course:
    return [(round(seconds, 1), round(value, 4)) for seconds, value in course]


def about(arguments: argparse.Namespace) -> dict[str, Any]:
    made = made_on("pymoo", "torch-pruning", "numpy")
    return {"images": arguments.images, "masks": arguments.masks, **made}


if __name__ == "__main__":
    main()
