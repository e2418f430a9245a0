"""`emodir check`: a dry run of a profile. It loads torch to trace the network."""

from typing import Any

from emodir_tui.bench import Bench, choose_device, configure_torch, keep_all, open_bench
from emodir_tui.formatting import count, duration, layer_range, percent, size
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import Division
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.problems.genes import prunable_groups
from emodir_tui.problems.reach import reach, unreachable_rules
from emodir_tui.problems.subnetwork import cut_sizes, held_bytes
from emodir_tui.profile import Profile
from emodir_tui.reports.tables import print_table
from emodir_tui.reports.views import input_scaling
from emodir_tui.runs.names import StageName, split_result_name
from emodir_tui.stages.costs import TYPICAL_FRONT, expected_seconds
from emodir_tui.stages.support.original_accuracy import CAUSES, accuracy_problem, sample_accuracy, standard_error
from emodir_tui.stages.support.rates import measure_rates
from emodir_tui.stages.support.search_size import polish_size, positions_size

# Enough for a standard error of two points, in seconds on any device.
ACCURACY_IMAGES = 500


def check_profile(profile: Profile) -> dict[str, Any]:
    """Division, protected layers, reach, and estimates of time and memory, as JSON values.

    Raises:
        ProfileError: The profile does not fit the network or the data.
    """
    # Times are estimated in the state in which a run would compute.
    configure_torch(profile, choose_device(profile.device))
    bench = open_bench(profile)
    graph, division = bench.try_division()
    least = reach(profile, graph, division)
    rows = []
    for part in division.subnetworks:
        groups = [graph.groups[number] for number in part.groups]
        rows.append(
            {
                "name": part.name,
                "layers": list(part.layers),
                "groups": len(groups),
                "channels": sum((g.stop - g.start) * g.channels_per_gene for g in groups),
                "macs": part.macs,
                "share": part.share,
            }
        )
    mean, std = bench.data.normalisation
    estimated = {stage.value: 0.0 for stage in StageName}
    for name, seconds in expected_seconds(bench, graph, division, measure_rates(bench, graph)).items():
        estimated[split_result_name(name)[0]] += seconds
    original = _original(bench)
    memory, hungriest = _memory(bench, graph, division)
    return {
        "model": profile.model.source,
        "original": original,
        "device": str(bench.device),
        "images": {"train": len(bench.data.train), "search": len(bench.data.search), "test": len(bench.data.test)},
        "input_shape": list(bench.example.shape[1:]),
        "mean": mean,
        "std": std,
        "classes": bench.data.classes,
        "classes_seen": bench.data.classes_seen,
        "subnetworks": rows,
        "streams": [
            {"name": graph.groups[number].name, "channels": graph.groups[number].stop - graph.groups[number].start}
            for number in division.streams
        ],
        "streams_pruned": profile.divide.streams,
        "protected": [{"place": p.place, "channels": p.channels, "reason": p.reason} for p in graph.protected],
        "macs": round(float(ComplexityModel(graph).measure(keep_all(graph))[0])),
        "least_macs_kept": least.macs,
        "least_params_kept": least.params,
        "rules_beyond_reach": unreachable_rules(profile, least),
        "memory_megabytes": memory,
        "memory_stage": hungriest,
        "estimated_seconds": estimated,
    }


def _original(bench: Bench) -> dict[str, Any] | None:
    """The accuracy of the profile's weights on some test images, and what is wrong with it; None without weights."""
    if not bench.profile.model.weights:
        return None
    measured, images = sample_accuracy(bench, ACCURACY_IMAGES)
    return {
        "accuracy": measured,
        "standard_error": standard_error(measured, images),
        "images": images,
        "problem": accuracy_problem(bench.profile, measured, images, bench.data.classes),
    }


def _memory(bench: Bench, graph: ChannelGraph, division: Division) -> tuple[float, StageName]:
    """Megabytes of cached features in the stage that holds most, and that stage. `search.memory` bounds each."""
    profile, value_bytes = bench.profile, bench.search_dtype.itemsize
    cuts = cut_sizes(division)
    # Each new beginning of a candidate is kept at every cut, until the memory is full.
    groups = tuple(prunable_groups(profile, division))
    candidates = positions_size(profile).candidates(profile.joint.generations)
    if profile.joint.polish:
        candidates += polish_size(profile, graph, groups).candidates(profile.joint.polish)
    sizes = {
        StageName.SEARCH: profile.search.images * held_bytes(bench, division),
        StageName.RANK: len(cuts) * TYPICAL_FRONT * profile.rank.images * sum(cuts) * value_bytes,
        StageName.JOINT: candidates * profile.joint.images * sum(cuts) * value_bytes,
    }
    bounded = {stage: min(float(profile.search.memory), size / 1e6) for stage, size in sizes.items()}
    hungriest = max(bounded, key=lambda stage: bounded[stage])
    return bounded[hungriest], hungriest


def print_check(view: dict[str, Any]) -> None:
    """Print the check of a profile."""
    images, classes = view["images"], f"{view['classes']} classes"
    if view["classes_seen"] < view["classes"]:
        classes += f", {view['classes_seen']} of them with training images"
    lines = [
        ["model", f"{view['model']} on {view['device']}, {count(view['macs'])} MACs"],
        ["images", f"{images['train']} training, {images['search']} search, {images['test']} test"],
        ["input", f"{'×'.join(str(size) for size in view['input_shape'])}, {classes}"],
        ["input scaling", input_scaling(view["mean"], view["std"])],
        [
            "reach",
            f"down to {percent(view['least_macs_kept'])} of the MACs, {percent(view['least_params_kept'])} of the parameters",
        ],
        *(["unreachable", f"{rule}: {reason}"] for rule, reason in view["rules_beyond_reach"].items()),
        *([] if view["original"] is None else [["accuracy", _accuracy(view["original"])]]),
        ["memory", f"up to {size(1e6 * view['memory_megabytes'])} of cached features, most in {view['memory_stage']}"],
        [
            "time",
            f"about {duration(sum(view['estimated_seconds'].values()))}: "
            + ", ".join(f"{name} {duration(seconds)}" for name, seconds in view["estimated_seconds"].items()),
        ],
    ]
    print_table(["What", "Value"], lines)
    rows = [
        [
            part["name"],
            layer_range(part["layers"]),
            str(part["groups"]),
            str(part["channels"]),
            count(part["macs"]),
            percent(part["share"]),
        ]
        for part in view["subnetworks"]
    ]
    print_table(["Part", "Layers", "Groups", "Channels", "MACs", "Share"], rows)
    if view["streams"]:
        fate = "pruned by the joint step" if view["streams_pruned"] else "not pruned; divide.streams = true prunes them"
        print_table(
            ["Stream", "Channels", "Fate"], [[item["name"], str(item["channels"]), fate] for item in view["streams"]]
        )
    if view["protected"]:
        rows = [[item["place"], str(item["channels"]), item["reason"]] for item in view["protected"]]
        print_table(["Protected", "Channels", "Reason"], rows)


def _accuracy(original: dict[str, Any]) -> str:
    measured = f"{percent(original['accuracy'], 2)} ± {percent(original['standard_error'], 2)} on {original['images']} test images"
    return f"{measured}: {CAUSES}" if original["problem"] else measured
