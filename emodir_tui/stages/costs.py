"""The expected time of each part of each stage, from which the remaining time of a run is estimated."""

from emodir_tui.bench import Bench
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import Division
from emodir_tui.problems.genes import prunable_groups
from emodir_tui.runs.names import ACCURACIES, CHAIN, FRONTS, PICKS, POLISH, POSITIONS, StageName, result_name
from emodir_tui.stages.support.baseline_cache import cache_file
from emodir_tui.stages.support.pick_rules import pick_name
from emodir_tui.stages.support.rates import Rates
from emodir_tui.stages.support.search_size import polish_size, positions_size, subnetwork_size

# Members of a front after its last evaluation; those of ResNet-20, ResNet-56 and VGG-16 on CIFAR-10 had 46 to 133.
TYPICAL_FRONT = 90
# Share of a network that is computed where its first sub-networks are those of an earlier candidate, whose features are
# cached: members placed alone, and combinations of members.
CACHED = 0.5


def expected_seconds(bench: Bench, graph: ChannelGraph, division: Division, rates: Rates) -> dict[str, float]:
    """The expected seconds of each part of each stage, in their order. Keys are made by `result_name`."""
    profile, train, test = bench.profile, len(bench.data.train), len(bench.data.test)
    search, joint, rules = profile.search, profile.joint, len(profile.pick.rules)
    trained = profile.model.weights or (profile.baseline.cache and cache_file(bench).exists())
    epochs = 0 if trained else profile.baseline.epochs
    # The next batch is read while the current one is computed.
    training, chain = max(rates.training, rates.reading), max(rates.chain, rates.reading)
    passing = max(rates.passing, rates.reading)
    recalibration = rates.passing * min(profile.finetune.recalibration_images, train)
    # Each epoch is measured on the search split.
    measuring = rates.passing * len(bench.data.search)
    seconds = {
        result_name(StageName.BASELINE): epochs * (train * training + measuring),
        result_name(StageName.BASELINE, "test"): test * passing,
    }
    for part in division.subnetworks:
        size = subnetwork_size(profile, graph, part.groups)
        whole = rates.candidate * search.images * size.candidates(search.generations)
        whole += rates.gradient * size.gradients(search.generations)
        seconds[result_name(StageName.SEARCH, part.name)] = part.share * whole
    again = TYPICAL_FRONT
    if search.rounds > 1:
        again += subnetwork_size(profile, graph, ()).each * search.second_generations
    images = profile.constrain.batch
    steps, final_steps = profile.constrain.steps, profile.constrain.final_steps
    seconds[result_name(StageName.CONSTRAIN, CHAIN)] = steps * images * chain
    seconds[result_name(StageName.CONSTRAIN, FRONTS)] = (steps > 0) * again * search.images * rates.candidate
    members = TYPICAL_FRONT * len(division.subnetworks)
    seconds[result_name(StageName.RANK)] = members * profile.rank.images * rates.candidate * CACHED
    one = joint.images * rates.candidate
    positions = positions_size(profile).candidates(joint.generations)
    seconds[result_name(StageName.JOINT, POSITIONS)] = positions * one * CACHED
    if joint.polish:
        size = polish_size(profile, graph, tuple(prunable_groups(profile, division)))
        polishing = one * size.candidates(joint.polish) + rates.gradient * size.gradients(joint.polish)
        seconds[result_name(StageName.JOINT, POLISH)] = polishing
    seconds[result_name(StageName.JOINT, ACCURACIES)] = TYPICAL_FRONT * one * CACHED
    seconds[result_name(StageName.REALISE, CHAIN)] = final_steps * images * chain
    seconds[result_name(StageName.REALISE, PICKS)] = rules * (recalibration + test * passing)
    # A step of a pruned network with its optimiser takes about as long as one of the original without; its teacher comes on top.
    tuned = profile.finetune.epochs * (train * max(rates.training + rates.passing, rates.reading) + measuring)
    for rule in profile.pick.rules:
        seconds[result_name(StageName.FINETUNE, pick_name(rule))] = tuned + recalibration + test * passing
    return seconds
