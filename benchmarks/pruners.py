"""The pruners that emodir is compared with: keep vectors at a share of the MACs.

All prune the same channel groups as emodir's sub-networks, and residual streams stay whole for all of them. Only the pruner
with searched ratios may empty a residual branch, as emodir may.
"""

import copy
import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from emodir_tui.bench import Bench, keep_all
from emodir_tui.emo.nsga2 import Nsga2
from emodir_tui.emo.position_space import PositionSpace
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.measures.importance import taylor
from emodir_tui.nets.removal import remove
from emodir_tui.problems.network import NetworkProblem
from emodir_tui.stages.support.search_loop import first_state
from emodir_tui.training.losses import cross_entropy

IMPORTANCE_IMAGES, BATCH = 512, 64
LEVELS_PER_LAYER = 16


class UnreachableError(ValueError):
    """A pruner cannot reach a level."""


class Context:
    """Everything that a pruner may use: the network, its groups, the data, a seed. Importances are computed once."""

    def __init__(self, bench: Bench, weights: dict[str, torch.Tensor], cuts: tuple[str, ...], seed: int) -> None:
        self.bench, self.seed = bench, seed
        self.graph, self.division = bench.graph(weights), bench.division(cuts)
        self.groups = [self.graph.groups[number] for part in self.division.subnetworks for number in part.groups]
        self.model = ComplexityModel(self.graph)
        self.whole = float(self.model.measure(keep_all(self.graph))[0])
        generator = np.random.default_rng(seed)
        order = torch.from_numpy(generator.permutation(len(bench.data.train))[:IMPORTANCE_IMAGES])
        split = bench.data.train
        sample = type(split)(images=split.images.subset(order), mean=split.mean, std=split.std, device=split.device)
        self._batches = list(sample.batches(BATCH))
        self._taylor: np.ndarray | None = None
        self._searched: tuple[np.ndarray, np.ndarray] | None = None

    def macs(self, keep_vectors: np.ndarray) -> np.ndarray:
        """Shares of the MACs, float64[n] of bool[n, genes]."""
        return self.model.measure(keep_vectors) / self.whole

    @property
    def taylor(self) -> np.ndarray:
        """Taylor importance on activations, from training images drawn by the seed."""
        if self._taylor is None:
            self._taylor = taylor(self.graph, self._batches, cross_entropy)
        return self._taylor


def l1(graph: ChannelGraph) -> np.ndarray:
    """Mean absolute weight of the filters that make a gene, float64[genes] (Li et al. 2017), summed over its layers."""
    values = np.zeros(graph.genes + 1)
    seen: dict[str, None] = {}
    for layer in graph.layers:
        if layer.weight and layer.weight not in seen:
            seen[layer.weight] = None
            weight = operator.attrgetter(layer.weight)(graph.network.model).detach()
            norms = weight.abs().transpose(0, layer.output_dim).flatten(1).mean(1).double().cpu().numpy()
            np.add.at(values, layer.outputs, norms)
    return values[:-1]


def bn_scale(graph: ChannelGraph) -> np.ndarray:
    """Absolute scale of the batch normalisations on a gene, float64[genes] (Liu et al. 2017); 0 where there is none."""
    values = np.zeros(graph.genes + 1)
    for name, module in graph.graph_module.named_modules():
        axes = graph.tensors.get(f"{name}.weight", {})
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and 0 in axes:
            np.add.at(values, axes[0], module.weight.detach().abs().double().cpu().numpy())
    return values[:-1]


def uniform(context: Context, level: float, importance: np.ndarray) -> np.ndarray:
    """Remove the same share of every group, the least important genes first."""

    def keep_share(share: float) -> np.ndarray:
        keep = keep_all(context.graph)[0]
        for group in context.groups:
            size = group.stop - group.start
            order = np.argsort(-importance[group.start : group.stop], kind="stable")
            keep[group.start + order[max(1, round(size * share)) :]] = False
        return keep

    shares = np.linspace(0, 1, 1001)
    macs = context.macs(np.stack([keep_share(share) for share in shares]))
    return keep_share(float(shares[_within(macs, level)[-1]]))


def ranked(context: Context, level: float, importance: np.ndarray) -> np.ndarray:
    """Remove the least important genes of all groups until the MACs fit; one gene of each group stays."""
    genes = np.concatenate([np.arange(group.start, group.stop) for group in context.groups])
    best = {int(group.start + np.argmax(importance[group.start : group.stop])) for group in context.groups}
    order = [gene for gene in genes[np.argsort(importance[genes], kind="stable")] if int(gene) not in best]
    keep_vectors = np.repeat(keep_all(context.graph), len(order) + 1, axis=0)
    for row, gene in enumerate(order, start=1):
        keep_vectors[row:, gene] = False
    macs = context.macs(keep_vectors)
    return keep_vectors[int(_within(macs, level)[0])]


def _within(macs: np.ndarray, level: float) -> np.ndarray:
    """Indices of the shares of the MACs that fit the level."""
    fitting = np.flatnonzero(macs <= level)
    if not len(fitting):
        raise UnreachableError(f"one channel a group is more than {level:.0%} of the MACs")
    return fitting


def per_layer(context: Context, importance: np.ndarray) -> np.ndarray:
    """Importance divided by the mean of each group."""
    normalised = importance.copy()
    for group in context.groups:
        values = importance[group.start : group.stop]
        normalised[group.start : group.stop] = values / max(float(values.mean()), 1e-300)
    return normalised


def per_mac(context: Context, importance: np.ndarray) -> np.ndarray:
    """Importance divided by the MACs that removing the gene saves."""
    divided = importance.copy()
    for group in context.groups:
        without = keep_all(context.graph)
        without[0, group.start] = False
        divided[group.start : group.stop] /= 1.0 - context.macs(without)[0]
    return divided


def searched(context: Context, level: float, population: int, generations: int, images: int) -> np.ndarray:
    """Taylor order inside each group; the kept numbers by NSGA-II on the error of the last features.

    Search, first population and objective are those of emodir's joint step, with a front for each layer instead of each
    sub-network.
    """
    if context._searched is None:
        bench, graph = context.bench, context.graph
        batches = bench.batches(bench.data.search, images, bench.profile.joint.batch)
        problem = NetworkProblem(bench, graph, graph, context.division, bench.complexity(), batches)
        nested = [_nested(context, group) for group in context.groups]
        walkable = [(1 - context.macs(keep_vectors), problem.feature_errors(keep_vectors)) for keep_vectors in nested]
        space = PositionSpace(walkable)
        nsga2 = Nsga2(space, population=population, seed=context.seed)

        def combine(positions: np.ndarray) -> np.ndarray:
            keep_vectors = keep_all(context.graph, len(positions))
            for column, members in enumerate(nested):
                keep_vectors &= members[positions[:, column]]
            return _whole_branches(context, keep_vectors)

        def measure(positions: np.ndarray) -> np.ndarray:
            keep_vectors = combine(positions)
            return np.stack([context.macs(keep_vectors), problem.feature_errors(keep_vectors)], axis=1)

        state = first_state(nsga2, measure)
        for _ in range(generations):
            children = nsga2.ask(state)
            state = nsga2.tell(state, children, measure(children))
        chosen = nsga2.front(state)
        context._searched = combine(state.seen[chosen]), state.seen_objectives[chosen]
    keep_vectors, objectives = context._searched
    fitting = _within(objectives[:, 0], level)
    return keep_vectors[fitting[np.argmin(objectives[fitting, 1])]]


def _whole_branches(context: Context, keep_vectors: np.ndarray) -> np.ndarray:
    """A branch is emptied whole or keeps the most important gene of each of its groups."""
    for branch in context.graph.branches:
        groups = [context.graph.groups[number] for number in branch.groups]
        empty = np.stack([~keep_vectors[:, group.start : group.stop].any(axis=1) for group in groups], axis=1)
        partly = empty.any(axis=1) & ~empty.all(axis=1)
        for column, group in enumerate(groups):
            most = group.start + int(np.argmax(context.taylor[group.start : group.stop]))
            keep_vectors[partly & empty[:, column], most] = True
    return keep_vectors


def _nested(context: Context, group: Any) -> np.ndarray:
    size = group.stop - group.start
    order = np.argsort(-context.taylor[group.start : group.stop], kind="stable")
    fewest = 0 if group.branch is not None else 1
    counts = sorted({max(fewest, round(size * share)) for share in np.linspace(0, 1, LEVELS_PER_LAYER + 1)})
    keep_vectors = keep_all(context.graph, len(counts))
    for row, count in enumerate(counts):
        keep_vectors[row, group.start + order[count:]] = False
    return keep_vectors


def group_norm(context: Context, level: float) -> nn.Module:
    """Torch-Pruning's group norm importance, ranked globally, at the largest share of the MACs within the level.

    Only groups of a single layer are pruned, because the tool prunes groups that are coupled through an option-A shortcut
    wrongly. At high ratios it leaves whole layers unpruned, so not every level can be reached.
    """
    best, most = None, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch_pruning

        names = {group.producers[0] for group in context.groups if len(group.producers) == 1}
        example = context.bench.example[:1]
        for ratio in np.linspace(0.02, 0.98, 49).tolist():
            model = copy.deepcopy(context.graph.network.model)
            ignored = [
                module
                for name, module in model.named_modules()
                if isinstance(module, nn.Conv2d | nn.Linear) and name not in names
            ]
            whole, _ = torch_pruning.utils.count_ops_and_params(model, example)
            torch_pruning.pruner.BasePruner(
                model,
                example,
                importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
                global_pruning=True,
                pruning_ratio=ratio,
                ignored_layers=ignored,
            ).step()
            kept = torch_pruning.utils.count_ops_and_params(model, example)[0] / whole
            if most < kept <= level:
                best, most = model, kept
    if best is None:
        raise UnreachableError(f"torch-pruning reaches no {level:.0%} of the MACs with these groups")
    return best


def removed(graph: ChannelGraph, keep: np.ndarray) -> nn.Module:
    """The network with the channels removed."""
    return remove(graph, keep, statistics="running")


Baseline = Callable[[Context, float], nn.Module]


def baselines(population: int, generations: int, images: int) -> dict[str, Baseline]:
    """The pruners by name, and the budget of the one with searched ratios."""

    def masked(choose: Callable[[Context, float], np.ndarray]) -> Baseline:
        return lambda context, level: removed(context.graph, choose(context, level))

    def noise(context: Context) -> np.ndarray:
        return np.random.default_rng(context.seed).random(context.graph.genes)

    return {
        "random": masked(lambda c, level: uniform(c, level, noise(c))),
        "uniform L1": masked(lambda c, level: uniform(c, level, l1(c.graph))),
        "global L1": masked(lambda c, level: ranked(c, level, per_layer(c, l1(c.graph)))),
        "BN scale": masked(lambda c, level: ranked(c, level, bn_scale(c.graph))),
        "group norm (Torch-Pruning)": group_norm,
        "Taylor": masked(lambda c, level: ranked(c, level, c.taylor)),
        "Taylor per MAC": masked(lambda c, level: ranked(c, level, per_mac(c, c.taylor))),
        "Taylor, searched ratios": masked(lambda c, level: searched(c, level, population, generations, images)),
    }
