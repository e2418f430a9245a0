"""Write docs/results.md and its plots from the measurements in benchmarks/results/.

    python tools/pages.py [--results FOLDER] [--page FILE]

The page contains nothing that the JSON files do not hold. Sentences state where emodir loses.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
TITLES = {
    "resnet20": "ResNet-20",
    "resnet56": "ResNet-56",
    "resnet110": "ResNet-110",
    "vgg16": "VGG-16",
    "digits": "digits-resnet",
}
OURS = "emodir"
SEARCHED = "Taylor, searched ratios"
HEADINGS = {
    "finetuned": "After fine-tuning, test accuracy in %",
    "recalibrated": "Before fine-tuning, recalibrated, test accuracy in %",
    "macs_kept": "MACs kept, in %",
}
# In points: smaller differences count as level.
LEVEL = 0.05
OTHERS_FIRST = ["random", "uniform L1", "global L1", "BN scale", "group norm (Torch-Pruning)", "Taylor"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE.parent / "benchmarks" / "results")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "results.md")
    arguments = parser.parse_args()
    lines = [INTRODUCTION]
    by_network: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(arguments.results.glob("quality-*.json")):
        measured = json.loads(path.read_text())
        by_network[measured["about"]["network"]].append(measured)
    for name, files in by_network.items():
        lines += quality(name, files, arguments.page)
    for path in sorted(arguments.results.glob("steps-*.json")):
        lines += steps(json.loads(path.read_text()))
    for path in sorted(arguments.results.glob("ablation-*.json")):
        lines += ablation(json.loads(path.read_text()))
    path = arguments.results / "search.json"
    if path.exists():
        lines += search(json.loads(path.read_text()))
    arguments.page.write_text("\n".join(lines) + "\n")


INTRODUCTION = """# Results

Written by `tools/pages.py` from the measurements in `benchmarks/results/`, which `benchmarks/*.py` made.

**Data.** Unless stated otherwise, the images are those of CIFAR-10 from a JPEG copy, on which networks are some points worse
than on the original: 50,000 training images, of which `data.search_images` are held out as the search split, and 10,000
test images. The ResNets have published weights, adapted to the copy for a few epochs. Those weights saw the searched images.

**Statistics.** Values are means over seeds, ± their standard deviation. The seeds vary pruning and fine-tuning of one trained
network, not its training. Differences are means over pairs of one seed, ± the deviation of the pairs. *Level with* means a
difference within the standard error of that mean, or within 0.05 points.

**Test split.** No search, pruner or fine-tuning uses it. Three of emodir's settings were chosen on test accuracies, however
([decisions.md](decisions.md)): `constrain.final_steps` on ResNet-20, `joint.capacity` on ResNet-20 and VGG-16 (seed 0), and the
share of the final steps that is made in picks on ResNet-20 and ResNet-56 (seed 0).

**What may be pruned.** Residual streams stay whole for all methods. Only emodir and the pruner with searched ratios may empty
a residual branch.

**Fine-tunings are short here:** 200 steps or half an epoch, because one CPU core made them. Leads shrink as fine-tuning gets
longer; the rows with more steps show how. Nothing was measured at the length that the shipped profiles use.

**Age.** ResNet-56's table of accuracy at the same MACs is older than one change: its joint impairment did not yet scale the
odds of the error by the parameters ([decisions.md](decisions.md)). ResNet-20's rows of emodir with more steps are older than its
other rows of emodir.

**Batch statistics.** Accuracies before fine-tuning use batch statistics of unaugmented images, for all methods. emodir's own runs
augment these images, which makes all networks somewhat better ([decisions.md](decisions.md)).
"""
# With fewer epochs the original is under-trained, and fine-tuning alone improves it.
TRAINED_OUT = 30


def quality(name: str, files: list[dict[str, Any]], page: Path) -> list[str]:
    """Tables and plot of one network."""
    rows = [row for file in files for row in file["rows"]]
    settings = files[0]["about"]["settings"]
    seeds = sorted({row["seed"] for row in rows})
    levels = sorted({row["level"] for row in rows if row["method"] != "original"}, reverse=True)
    original = float(np.mean([row["finetuned"] for row in rows if row["method"] == "original"]))
    # Values by seed.
    cells: dict[tuple[str, float], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        for key in ("recalibrated", "finetuned", "macs_kept"):
            if key in row:
                cells[method_label(row), row["level"]][key][row["seed"]] = row[key]
    made = [row for row in rows if row["method"] != "original"]
    equal = list(dict.fromkeys(method_label(row) for row in made if not row.get("more_steps")))
    equal.sort(key=lambda method: (method.startswith(OURS), method not in OTHERS_FIRST))
    longer: dict[int, list[str]] = defaultdict(list)
    for row in made:
        if (more := row.get("more_steps")) and method_label(row) not in longer[more]:
            longer[more].append(method_label(row))
    further = [method for _, methods in sorted(longer.items()) for method in methods]
    title = TITLES.get(name, name)
    lines = [
        f"## {title}: accuracy at the same MACs",
        "",
        (
            f"Original: {100 * original:.2f} %{baseline_note(files)}. {len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({', '.join(map(str, seeds))}); "
            f"{settings['steps']} fine-tuning steps of {settings['batch']} images, peak learning rate "
            f"{settings['learning_rate']}, distillation from the original (weight {settings['distillation']}); batch statistics "
            "re-estimated for all. Every method has the same steps, images and soft labels at one seed, and keeps at most the "
            "share of the MACs in the head of its column."
        ),
        "",
        *setups(files),
        "",
    ]
    for key, heading in HEADINGS.items():
        lines += [f"### {heading}", ""]
        lines.append("| method | " + " | ".join(f"{100 * level:.0f} % of the MACs" for level in levels) + " |")
        lines.append("|---|" + "---|" * len(levels))
        best = {level: best_of(cells, equal, level, key) for level in levels}
        for method in [*equal, *further] if key == "finetuned" else equal:
            shown = []
            for level in levels:
                values = [*cells[method, level][key].values()]
                text = spread([100 * value for value in values], 2) if values else "—"
                if 0 < len(values) < len(seeds):
                    text += f" ({len(values)} seed{'s' if len(values) > 1 else ''})"
                shown.append(f"**{text}**" if key != "macs_kept" and method == best[level] else text)
            lines.append(f"| {method} | " + " | ".join(shown) + " |")
        lines += ["", verdict(cells, equal, levels, key) if key != "macs_kept" else effort(rows, settings), ""]
        if key == "finetuned" and OURS in equal:
            lines += [training_note(files, further=bool(longer)), ""]
            for more, methods in sorted(longer.items()):
                # emodir as in the table, then with the same number of further steps.
                sides = [OURS, *(method for method in methods if method.startswith(OURS))]
                lines += [
                    f"- {more} more steps: {' '.join(verdict(cells, methods, levels, key, side) for side in sides)}"
                ]
            lines += [""] if longer else []
    notes = [f"- {note}." for note in dict.fromkeys(row["note"] for row in rows if "note" in row)]
    lines += [*notes, ""] if notes else []
    picture = page.parent / "images" / f"accuracy-{name}.svg"
    plot(title, original, cells, equal, levels, picture)
    lines += [f"![Accuracy against MACs, {title}](images/{picture.name})", ""]
    return lines


def best_of(cells: Any, methods: list[str], level: float, key: str) -> str | None:
    """The method with the highest mean among those with the most seeds, over the seeds that they share."""
    most = max(len(cells[method, level][key]) for method in methods)
    having = {method: values for method in methods if len(values := cells[method, level][key]) == most > 0}
    common = set.intersection(*(set(values) for values in having.values())) if having else set()
    means = {method: float(np.mean([values[seed] for seed in common])) for method, values in having.items() if common}
    return max(means, key=lambda method: means[method], default=None)


def baseline_note(files: list[dict[str, Any]]) -> str:
    """The training of the original, for networks without published weights."""
    known = files[0]["about"].get("baseline")
    if not known:
        return ""
    note = f" (trained for {known['epochs']} epochs, peak learning rate {known['learning_rate']}"
    if known["epochs"] < TRAINED_OUT:
        note += ": under-trained, so fine-tuning alone improves it; only a plausibility check"
    return f"{note})"


def effort(rows: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    """The number of evaluations that chose the networks."""
    sentences = []
    if any(row["method"] == SEARCHED for row in rows):
        sentences.append(
            f"{SEARCHED} evaluated {settings['searched_evaluations']:,} schemes of the whole network for all levels of a seed."
        )
    ours = [row for row in rows if row["method"] == OURS and "schemes" in row]
    if ours:
        masks, schemes = (np.mean([row[key] for row in ours]) for key in ("masks", "schemes"))
        sentences.append(
            f"emodir evaluated {masks:,.0f} masks of single sub-networks, then {schemes:,.0f} schemes of the whole network."
        )
    return " ".join(sentences)


def training_note(files: list[dict[str, Any]], *, further: bool) -> str:
    """The purpose of the rows with more steps, or a note that they are missing."""
    trained = {
        constrained(file["about"]["emodir"]) for file in files if any(row["method"] == OURS for row in file["rows"])
    }
    note = (
        "Fine-tuning is the same for all, but emodir's networks also went through its constrained training "
        f"({', '.join(sorted(trained))} steps of training the whole network, shared by all levels). "
    )
    if further:
        return note + (
            "The rows with more steps fine-tune each network longer by that number of steps (with searched ratios: a network that "
            "another search chose). Comparison of emodir with these rows:"
        )
    return (
        f"{note}Other pruners were not measured with as many further steps here, so emodir's leads include these steps."
    )


def constrained(settings: dict[str, Any]) -> str:
    """The steps of emodir's constrained trainings: before the ranking, and for the picks."""
    first, final = settings["constrain"]["steps"], settings["constrain"].get("final_steps", 0)
    return f"{first} + {final}" if final else str(first)


def where(about: dict[str, Any]) -> str:
    """Device, machine and versions."""
    versions = ", ".join(f"{library} {version}" for library, version in about["versions"].items())
    return f"{about['device'].upper()} ({about['machine']}), {versions}"


def method_label(row: dict[str, Any]) -> str:
    """The method of a row, with its further fine-tuning steps."""
    return row["method"] + (f", {row['more_steps']} more steps" if row.get("more_steps") else "")


def setups(files: list[dict[str, Any]], *, runs: bool = False) -> list[str]:
    """One line for each distinct setup: methods, levels, machine, commit, emodir's budgets."""
    ways: dict[str, tuple[set[float], set[str]]] = defaultdict(lambda: (set(), set()))
    for file in files:
        about = file["about"]
        way = where(about)
        if "mixed_precision" in about["settings"]:
            way += f", fine-tuned in {'bfloat16' if about['settings']['mixed_precision'] else 'float32'}"
        if runs or any(row["method"].startswith(OURS) for row in file["rows"]):
            own = about.get("emodir", about["settings"])
            search, joint = own["search"], own["joint"]
            way += (
                f"; emodir: {search['generations']} generations a sub-network, {joint['generations']} of positions, "
                f"{joint['polish']} of polishing, {constrained(own)} constrained steps, "
                f"{joint['images']} images"
            )
            picks = sorted({row["picks"] for row in file["rows"] if "picks" in row})
            way += f", {' or '.join(map(str, picks))} picks a run" if picks else ""
            commits = sorted({row.get("revision") or about.get("revision", "") for row in file["rows"]} - {""})
            way += f", commit {' or '.join(commits)}" if commits else ""
        levels, whose = ways[way]
        made = [row for row in file["rows"] if row["method"] != "original"]
        levels |= {row["level"] for row in made}
        whose |= {"emodir" if row["method"].startswith(OURS) else "other pruners" for row in made}
    lines = []
    for way, (levels, whose) in ways.items():
        shares = ", ".join(f"{100 * level:.0f} %" for level in sorted(levels, reverse=True))
        sides = "" if runs else f", {' and '.join(sorted(whose))}"
        lines.append(f"- {shares}{sides}: {way}.")
    return lines


def verdict(cells: Any, methods: list[str], levels: list[float], key: str, own: str = OURS) -> str:
    """The lead of emodir over the best other method at each level, over the seeds that both sides have.

    Two methods are level if they differ by less than a standard error of the paired differences, or by less than `LEVEL`.
    """
    leads_by_level, partial, seeds = [], False, 0
    for level in levels:
        ours = cells[own, level][key]
        others = {
            m: theirs for m in methods if not m.startswith(OURS) and (theirs := cells[m, level][key]).keys() & ours
        }
        if not others:
            continue
        # Only methods that share the most seeds with emodir are compared.
        most = max(len(theirs.keys() & ours) for theirs in others.values())
        leads = {
            m: [100 * (ours[s] - theirs[s]) for s in theirs.keys() & ours]
            for m, theirs in others.items()
            if len(theirs.keys() & ours) == most
        }
        best = min(leads, key=lambda method: float(np.mean(leads[method])))
        lead = float(np.mean(leads[best]))
        seeds = max(seeds, most)
        partial = partial or others[best].keys() != ours.keys()
        error = float(np.std(leads[best], ddof=1)) / len(leads[best]) ** 0.5 if len(leads[best]) > 1 else 0.0
        size = f"{abs(lead):.2f}" + (f" ± {np.std(leads[best], ddof=1):.2f}" if len(leads[best]) > 1 else "")
        if abs(lead) < max(LEVEL, error):
            words = f"level with {best} ({'+' if lead > 0 else '−'}{size})"
        else:
            words = f"{size} points {'ahead of' if lead > 0 else 'behind'} {best}"
        leads_by_level.append(f"{words} at {100 * level:.0f} %")
    over = (", over the seeds that both have" if partial else "") + (" (one seed)" if seeds == 1 else "")
    return (
        f"{own} is {'; '.join(leads_by_level)}{over}."
        if leads_by_level
        else f"{own} cannot be compared with another method yet."
    )


def plot(title: str, original: float, cells: Any, methods: list[str], levels: list[float], path: Path) -> None:
    """Accuracy after fine-tuning against MACs kept, one curve a method."""
    mpl.rcParams["svg.hashsalt"] = "emodir"
    figure, axes = plt.subplots(figsize=(8, 5))
    axes.axhline(100 * original, color="0.6", linewidth=1, linestyle=":", label="original")
    for method in methods:
        points = [
            (np.mean([*c["macs_kept"].values()]), [*c["finetuned"].values()])
            for level in levels
            if (c := cells[method, level])["finetuned"]
        ]
        ours = method == OURS
        axes.errorbar(
            [100 * x for x, _ in points],
            [100 * np.mean(y) for _, y in points],
            [100 * np.std(y, ddof=1) if len(y) > 1 else 0 for _, y in points],
            label=method,
            linewidth=2.5 if ours else 1.2,
            color="black" if ours else None,
            marker="o",
            markersize=5 if ours else 3,
            capsize=2,
            zorder=3 if ours else 2,
        )
    axes.set_xlabel("MACs kept, %")
    axes.set_ylabel("test accuracy after fine-tuning, %")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def steps(measured: dict[str, Any]) -> list[str]:
    """Whole runs that differ in one step of the method."""
    rows = [row for row in measured["rows"] if "finetuned" in row]
    levels = sorted({row["level"] for row in rows}, reverse=True)
    seeds = sorted({row["seed"] for row in rows})
    title = TITLES.get(measured["about"]["network"], measured["about"]["network"])
    seed_names = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    lines = [
        f"## {title}: effect of each step of the method, {seed_names}",
        "",
        (
            "Whole runs with the budgets below. Each variant differs from the first one as its name says. Accuracy in % before → "
            "after the same fine-tuning, and KL divergence from the original after it (smaller is better, and less noisy than "
            "accuracy), on images of the search split that no search saw. Evaluations: masks of sub-networks + schemes of the "
            "whole network."
        ),
        "",
        *setups([measured], runs=True),
        "",
        "| variant | "
        + " | ".join(f"{100 * level:.0f} % of the MACs | divergence" for level in levels)
        + " | evaluations |",
        "|---|" + "---|" * (2 * len(levels) + 1),
    ]
    for variant in dict.fromkeys(row["method"] for row in rows):
        shown = []
        for level in levels:
            found = [row for row in rows if (row["method"], row["level"]) == (variant, level)]
            pairs = [spread([100 * row[key] for row in found], 2) for key in ("recalibrated", "finetuned") if found]
            shown += [" → ".join(pairs) or "—", spread([row["divergence"] for row in found], 3) if found else "—"]
        masks, schemes = (
            np.mean([row[key] for row in rows if row["method"] == variant]) for key in ("masks", "schemes")
        )
        lines.append(f"| {variant} | " + " | ".join(shown) + f" | {masks:,.0f} + {schemes:,.0f} |")
    return [*lines, ""]


def ablation(measured: dict[str, Any]) -> list[str]:
    """Searches that differ in one component, at equal time."""
    rows = measured["rows"]
    seeds = sorted({row["seed"] for row in rows})
    about = measured["about"]
    title = TITLES.get(about["network"], about["network"])
    parts = list(dict.fromkeys(row["search"] for row in rows if row["search"] != "joint"))
    lines = [
        f"## {title}: effect of each component of the search",
        "",
        (
            f"{about['seconds']:.0f} s for each sub-network and variant, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}; hypervolume of the front on "
            f"1,000 images that no search saw, and evaluations made in that time. Searches use 500 images unless the variant says "
            f"otherwise. {where(about)}."
        ),
        "",
        "| variant | " + " | ".join(f"{part}: hypervolume | evaluations" for part in parts) + " |",
        "|---|" + "---|" * (2 * len(parts)),
    ]
    variants = list(dict.fromkeys(row["variant"] for row in rows if row["search"] != "joint"))
    for variant in variants:
        shown = []
        for part in parts:
            found = [row for row in rows if (row["variant"], row["search"]) == (variant, part)]
            shown += [spread([row["hypervolume"] for row in found], 4)]
            shown += [f"{np.mean([row['evaluations'] for row in found]):,.0f}"]
        lines.append(f"| {variant} | " + " | ".join(shown) + " |")
    joint = [row for row in rows if row["search"] == "joint"]
    if joint:
        lines += [
            "",
            (
                "The joint step, from the fronts of the default variant and in the same time. Error of the last features and "
                "accuracy before fine-tuning on 2,000 images of the search split. Unlike a run: original weights, no constrained "
                "training, and no parameters in the joint impairment."
            ),
            "",
            "| variant | hypervolume | error at 50 % | accuracy at 50 % | error at 30 % | accuracy at 30 % |",
            "|---|---|---|---|---|---|",
        ]
        for variant in dict.fromkeys(row["variant"] for row in joint):
            found = [row for row in joint if row["variant"] == variant]
            shown = [spread([row["hypervolume"] for row in found], 4)]
            for level in ("0.5", "0.3"):
                shown.append(spread([row[f"error_{level}"] for row in found], 4))
                shown.append(spread([100 * row[f"accuracy_{level}"] for row in found], 2))
            lines.append(f"| {variant} | " + " | ".join(shown) + " |")
    return [*lines, ""]


def spread(values: list[float], digits: int) -> str:
    """Mean ± deviation."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def growth(candidates: dict[str, Any]) -> str:
    """The growth of a candidate's cost from the first network to the last; empty for a single network."""
    names = list(candidates)
    if len(names) < 2:
        return ""
    first, last = names[0], names[-1]
    small, large = candidates[first], candidates[last]
    precision = "bfloat16" if "bfloat16" in small and "bfloat16" in large else "full"
    ours = large[precision]["ours_ms"] / small[precision]["ours_ms"]
    every = ours * large["subnetworks"] / small["subnetworks"]
    return (
        f"From {TITLES.get(first, first)} to {TITLES.get(last, last)} a candidate's cost grows {ours:.1f} times in emodir "
        f"({precision}) and {large['general_ms'] / small['general_ms']:.1f} times in the general tool; with "
        f"{large['subnetworks']} sub-networks to search instead of {small['subnetworks']}, one candidate for each sub-network costs "
        f"{every:.1f} times as much in total."
    )


def search(measured: dict[str, Any]) -> list[str]:
    """The cost of a candidate, and the time to a front."""
    about = measured["about"]
    lines = [
        "## Cost of a candidate",
        "",
        (
            f"Milliseconds per candidate on {about['images']} images, mean over the sub-networks, on a {where(about)}. "
            f"{about['masks']} masks for each sub-network, which keep half of the channels; random weights and images. "
            "*General tool*: pymoo, a copy of the network, Torch-Pruning, and a forward pass of the whole network in full "
            "precision. *Limit*: the bare forward pass of the sliced sub-network in emodir's precision (a ratio of 1 is as fast "
            "as that). *Stacked*: the other form of emodir's evaluator, with several candidates on the batch axis and masks in "
            "place of slices, which may be faster on a GPU. All sides are measured in turns, so a busy machine changes the times "
            "more than their ratios. emodir can be faster than its limit, because it computes activations that no mask changes "
            "only once."
        ),
        "",
        "| network | sub-networks | precision | emodir, ms | stacked, ms | limit, ms | limit / emodir | general tool, ms | times faster |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in measured["candidates"].items():
        for precision in ("full", "bfloat16"):
            if sides := row.get(precision):
                lines.append(
                    f"| {TITLES.get(name, name)} | {row['subnetworks']} | {precision} | {sides['ours_ms']} | "
                    f"{sides.get('stacked_ms', '—')} | {sides['bare_ms']} | {sides['share_of_limit']:.2f} | {row['general_ms']} | {sides['times_faster']} |"
                )
    memory = measured["memory"]
    lines += [
        "",
        growth(measured["candidates"]),
        "",
        (
            f"Memory that evaluating adds on {memory['images']} images of {TITLES.get(memory['network'], memory['network'])}: "
            f"{memory['ours_mb']:.0f} MB in emodir (features of the first sub-network are kept), {memory['general_mb']:.0f} MB with "
            "the general tool."
        ),
        "",
    ]
    if measured["reaching"]:
        lines += [
            "## Time to a whole-network search's hypervolume",
            "",
            (
                "NSGA-II over all genes of the network at once, with emodir's evaluator, first population and operators, "
                "against EMO-DIR with short searches: a descent of each sub-network, the ranking, some generations of joint "
                "positions, then polishing. Hypervolume of (MACs, error of the last features) on the same images."
            ),
            "",
            "| network | images | whole-network search | seconds | hypervolume | EMO-DIR reaches it after | share of the time |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, reaching in measured["reaching"].items():
            for side, words in (
                ("plain", f"{reaching['generations']} generations"),
                ("guided", "the same with descent and guided children"),
            ):
                seconds, value = reaching["whole_network"][side][-1]
                reached = reaching["reached_s"][side]
                last, most = reaching["emodir"][-1]
                reached_text = (
                    f"{reached:.0f} s | {reached / seconds:.2f}" if reached else f"not in {last:.0f} s ({most:.4f}) | —"
                )
                lines.append(
                    f"| {TITLES.get(name, name)} | {reaching['images']} | {words} | {seconds:.0f} | {value:.4f} | {reached_text} |"
                )
        lines.append("")
        for name, reaching in measured["reaching"].items():
            last, most = reaching["emodir"][-1]
            guided = reaching["whole_network"]["guided"]
            same = next((seconds for seconds, value in guided if value >= most), None)
            if same is not None and same < last:
                lines += [
                    (
                        f"- {TITLES.get(name, name)}: EMO-DIR ends at {most:.4f} after {last:.0f} s. The search of the whole "
                        f"network with the same descent and guided children reaches this after {same:.0f} s: with guidance, "
                        "dividing saves no time."
                    )
                ]
            first = reaching["emodir"][0]
            found = reaching["agreement"]
            lines += [
                (
                    f"- {TITLES.get(name, name)}: EMO-DIR's first joint population has {first[1]:.4f} after {first[0]:.0f} s. "
                    "Impairments of 100 random schemes in bfloat16 and in full precision: rank correlation "
                    f"{found['rank_correlation']:.5f}, largest difference {100 * found['largest_difference']:.2f} % of the "
                    f"largest impairment. The searches ran in {reaching['precision']}, on a {where(reaching['about'])}."
                )
            ]
        lines.append("")
    return lines


if __name__ == "__main__":
    main()
