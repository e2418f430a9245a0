"""Write docs/results.md and its plots from the measurements in benchmarks/results/.

    python tools/pages.py [--results FOLDER] [--page FILE]

The page is made of what the JSON files hold and of nothing else; where emodir loses, the sentence says so.
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
# In points; less is no difference.
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

Written by `tools/pages.py` from what the other scripts there measured; the raw numbers lie in `benchmarks/results/`.
Where nothing else is said images are those of CIFAR-10 from a JPEG copy, on which networks are some points worse than on
the original (50,000 to train, of them as many as `data.search_images` only searched on; 10,000 to test). The ResNets have
published weights, adapted to the copy for a few epochs; those saw the searched images too.

Means over seeds, ± their standard deviation: of pruning and fine-tuning one trained network, not of training it.
Differences are means over pairs of one seed, ± the deviation of these; *level with* is what lies within the standard error
of that mean, or 0.05 points. No search, pruner or fine-tuning sees the test split; three of emodir's settings were settled
on test accuracies, though, as docs/method.md says: `constrain.final_steps` on ResNet-20, `joint.capacity` on ResNet-20 and
VGG-16 (seed 0), and that half of the final steps are made in the picks on ResNet-20 and ResNet-56 (seed 0). Residual
streams stay whole for all; only emodir and the pruner with searched ratios may empty a residual branch.

**Fine-tunings are short here,** 200 steps or half an epoch, because one CPU core made them. Leads shrink as fine-tuning grows
longer; the rows with more steps show how. Nothing was measured at the length that the shipped profiles have.

One change is younger than ResNet-56's table of accuracy at the same MACs: there parameters did not yet count in the odds of the
error (docs/method.md). Of ResNet-20 the rows of emodir with more steps are older than its others. Accuracies before
fine-tuning are under batch statistics of images as they are, for all methods; emodir's own runs augment these images, with
which all networks are somewhat better (docs/method.md).
"""
# Fewer epochs leave an original from which fine-tuning itself gains.
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
                cells[called(row), row["level"]][key][row["seed"]] = row[key]
    made = [row for row in rows if row["method"] != "original"]
    equal = list(dict.fromkeys(called(row) for row in made if not row.get("more_steps")))
    equal.sort(key=lambda method: (method.startswith(OURS), method not in OTHERS_FIRST))
    longer: dict[int, list[str]] = defaultdict(list)
    for row in made:
        if (more := row.get("more_steps")) and called(row) not in longer[more]:
            longer[more].append(called(row))
    further = [method for _, methods in sorted(longer.items()) for method in methods]
    title = TITLES.get(name, name)
    lines = [
        f"## {title}: accuracy at the same MACs",
        "",
        (
            f"Original: {100 * original:.2f} %{trained_here(files)}. {len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({', '.join(map(str, seeds))}); "
            f"{settings['steps']} fine-tuning steps of {settings['batch']} images, peak learning rate "
            f"{settings['learning_rate']}, distillation from the original (weight {settings['distillation']}); batch statistics "
            "set anew for all. The same steps, images and soft labels for every method at one seed. Every method has MACs at or "
            "below the level of its column (share kept)."
        ),
        "",
        *measured_how(files),
        "",
    ]
    for key, heading in HEADINGS.items():
        lines += [f"### {heading}", ""]
        lines.append("| method | " + " | ".join(f"{100 * level:.0f} % of the MACs" for level in levels) + " |")
        lines.append("|---|" + "---|" * len(levels))
        best = {level: best_of(cells, equal, level, key) for level in levels}
        for method in [*equal, *further] if key == "finetuned" else equal:
            told = []
            for level in levels:
                values = [*cells[method, level][key].values()]
                text = spread([100 * value for value in values], 2) if values else "—"
                if 0 < len(values) < len(seeds):
                    text += f" ({len(values)} seed{'s' if len(values) > 1 else ''})"
                told.append(f"**{text}**" if key != "macs_kept" and method == best[level] else text)
            lines.append(f"| {method} | " + " | ".join(told) + " |")
        lines += ["", verdict(cells, equal, levels, key) if key != "macs_kept" else effort(rows, settings), ""]
        if key == "finetuned" and OURS in equal:
            lines += [counted(files, further=bool(longer)), ""]
            for more, methods in sorted(longer.items()):
                # emodir as in the table, then with as many steps more.
                sides = [OURS, *(method for method in methods if method.startswith(OURS))]
                lines += [
                    f"- {more} steps more: {' '.join(verdict(cells, methods, levels, key, side) for side in sides)}"
                ]
            lines += [""] if longer else []
    notes = [f"- {note}." for note in dict.fromkeys(row["note"] for row in rows if "note" in row)]
    lines += [*notes, ""] if notes else []
    picture = page.parent / "images" / f"accuracy-{name}.svg"
    plot(title, original, cells, equal, levels, picture)
    lines += [f"![Accuracy against MACs, {title}](images/{picture.name})", ""]
    return lines


def best_of(cells: Any, methods: list[str], level: float, key: str) -> str | None:
    """The method with the highest mean, of those that have most seeds and over these."""
    most = max(len(cells[method, level][key]) for method in methods)
    having = {method: values for method in methods if len(values := cells[method, level][key]) == most > 0}
    common = set.intersection(*(set(values) for values in having.values())) if having else set()
    means = {method: float(np.mean([values[seed] for seed in common])) for method, values in having.items() if common}
    return max(means, key=lambda method: means[method], default=None)


def trained_here(files: list[dict[str, Any]]) -> str:
    """How the original was trained, where that was not done before."""
    known = files[0]["about"].get("baseline")
    if not known:
        return ""
    told = f" (trained for {known['epochs']} epochs, peak learning rate {known['learning_rate']}"
    if known["epochs"] < TRAINED_OUT:
        told += ": far from trained out, so that fine-tuning itself gains; no more than a check"
    return f"{told})"


def effort(rows: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    """What was evaluated to choose networks."""
    told = []
    if any(row["method"] == SEARCHED for row in rows):
        told.append(
            f"{SEARCHED} evaluated {settings['searched_evaluations']:,} schemes of the whole network for all levels of a seed."
        )
    ours = [row for row in rows if row["method"] == OURS and "schemes" in row]
    if ours:
        masks, schemes = (np.mean([row[key] for row in ours]) for key in ("masks", "schemes"))
        told.append(
            f"emodir evaluated {schemes:,.0f} schemes of the whole network, and before that {masks:,.0f} masks of single "
            "sub-networks."
        )
    return " ".join(told)


def counted(files: list[dict[str, Any]], *, further: bool) -> str:
    """What the rows with more steps are for; what is missing where there are none."""
    trained = {
        constrained(file["about"]["emodir"]) for file in files if any(row["method"] == OURS for row in file["rows"])
    }
    told = (
        "Fine-tuning is the same for all, but emodir's networks also come from its constrained training "
        f"({', '.join(sorted(trained))} steps of the whole network's training, shared by all levels). "
    )
    if further:
        return told + (
            "The rows with more steps fine-tune each network so much longer by itself (with searched ratios, a network that "
            "another search chose). emodir beside these:"
        )
    return f"{told}Other pruners with as many steps more were not measured here, so that emodir's leads include these steps."


def constrained(settings: dict[str, Any]) -> str:
    """The steps of emodir's constrained trainings, of the one before the ranking and of the one for the picks."""
    first, final = settings["constrain"]["steps"], settings["constrain"].get("final_steps", 0)
    return f"{first} + {final}" if final else str(first)


def where(about: dict[str, Any]) -> str:
    """Device, machine and versions."""
    versions = ", ".join(f"{library} {version}" for library, version in about["versions"].items())
    return f"{about['device'].upper()} ({about['machine']}), {versions}"


def called(row: dict[str, Any]) -> str:
    """A row's method, and the further steps that it got."""
    return row["method"] + (f", {row['more_steps']} steps more" if row.get("more_steps") else "")


def measured_how(files: list[dict[str, Any]], *, runs: bool = False) -> list[str]:
    """A line for each different way in which files were made: methods, levels, machine, commit, emodir's budgets."""
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
    told = []
    for way, (levels, whose) in ways.items():
        shares = ", ".join(f"{100 * level:.0f} %" for level in sorted(levels, reverse=True))
        sides = "" if runs else f", {' and '.join(sorted(whose))}"
        told.append(f"- {shares}{sides}: {way}.")
    return told


def verdict(cells: Any, methods: list[str], levels: list[float], key: str, own: str = OURS) -> str:
    """How far emodir is before or behind the best of the others, level by level, over the seeds that both sides have.

    Level with it: by less than a standard error of the paired differences, where several seeds give one.
    """
    told, partial, seeds = [], False, 0
    for level in levels:
        ours = cells[own, level][key]
        others = {
            m: theirs for m in methods if not m.startswith(OURS) and (theirs := cells[m, level][key]).keys() & ours
        }
        if not others:
            continue
        # Of other methods those that have most of our seeds.
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
        told.append(f"{words} at {100 * level:.0f} %")
    over = (", over the seeds that both have" if partial else "") + (" (one seed)" if seeds == 1 else "")
    return f"{own} is {'; '.join(told)}{over}." if told else f"{own} has nothing to compare with yet."


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
    """What each step of the method is worth."""
    rows = [row for row in measured["rows"] if "finetuned" in row]
    levels = sorted({row["level"] for row in rows}, reverse=True)
    seeds = sorted({row["seed"] for row in rows})
    title = TITLES.get(measured["about"]["network"], measured["about"]["network"])
    told_seeds = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    lines = [
        f"## {title}: what each step of the method is worth, {told_seeds}",
        "",
        (
            "Whole runs that differ in what their name says from the first, with these budgets; accuracy "
            "in % before → after the same fine-tuning, and KL divergence from the original after it (smaller is better, and "
            "steadier than accuracies), on images of the search split that no search saw. Evaluations are those that chose "
            "networks: masks of sub-networks + schemes of the whole network."
        ),
        "",
        *measured_how([measured], runs=True),
        "",
        "| variant | "
        + " | ".join(f"{100 * level:.0f} % of the MACs | divergence" for level in levels)
        + " | evaluations |",
        "|---|" + "---|" * (2 * len(levels) + 1),
    ]
    for variant in dict.fromkeys(row["method"] for row in rows):
        told = []
        for level in levels:
            found = [row for row in rows if (row["method"], row["level"]) == (variant, level)]
            pairs = [spread([100 * row[key] for row in found], 2) for key in ("recalibrated", "finetuned") if found]
            told += [" → ".join(pairs) or "—", spread([row["divergence"] for row in found], 3) if found else "—"]
        masks, schemes = (
            np.mean([row[key] for row in rows if row["method"] == variant]) for key in ("masks", "schemes")
        )
        lines.append(f"| {variant} | " + " | ".join(told) + f" | {masks:,.0f} + {schemes:,.0f} |")
    return [*lines, ""]


def ablation(measured: dict[str, Any]) -> list[str]:
    """What each piece is worth."""
    rows = measured["rows"]
    seeds = sorted({row["seed"] for row in rows})
    about = measured["about"]
    title = TITLES.get(about["network"], about["network"])
    parts = list(dict.fromkeys(row["search"] for row in rows if row["search"] != "joint"))
    lines = [
        f"## {title}: what each piece of the search is worth",
        "",
        (
            f"{about['seconds']:.0f} s for each sub-network and variant, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}; hypervolume of the front on "
            f"1,000 images that no search saw, and the evaluations made in that time. Where no number is named 500 images are searched on. {where(about)}."
        ),
        "",
        "| variant | " + " | ".join(f"{part}: hypervolume | evaluations" for part in parts) + " |",
        "|---|" + "---|" * (2 * len(parts)),
    ]
    variants = list(dict.fromkeys(row["variant"] for row in rows if row["search"] != "joint"))
    for variant in variants:
        told = []
        for part in parts:
            found = [row for row in rows if (row["variant"], row["search"]) == (variant, part)]
            told += [spread([row["hypervolume"] for row in found], 4)]
            told += [f"{np.mean([row['evaluations'] for row in found]):,.0f}"]
        lines.append(f"| {variant} | " + " | ".join(told) + " |")
    joint = [row for row in rows if row["search"] == "joint"]
    if joint:
        lines += [
            "",
            (
                "The joint step, from the default's fronts and in the same seconds; error of the last features and accuracy "
                "before fine-tuning on 2,000 images of the search split. With the original's weights, without constrained "
                "training, and without the term for parameters, which a run has."
            ),
            "",
            "| variant | hypervolume | error at 50 % | accuracy at 50 % | error at 30 % | accuracy at 30 % |",
            "|---|---|---|---|---|---|",
        ]
        for variant in dict.fromkeys(row["variant"] for row in joint):
            found = [row for row in joint if row["variant"] == variant]
            told = [spread([row["hypervolume"] for row in found], 4)]
            for level in ("0.5", "0.3"):
                told.append(spread([row[f"error_{level}"] for row in found], 4))
                told.append(spread([100 * row[f"accuracy_{level}"] for row in found], 2))
            lines.append(f"| {variant} | " + " | ".join(told) + " |")
    return [*lines, ""]


def spread(values: list[float], digits: int) -> str:
    """Mean ± deviation."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def growth(candidates: dict[str, Any]) -> str:
    """How a candidate's cost grows from the first network to the last, where there are several."""
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
        f"{large['subnetworks']} sub-networks to search instead of {small['subnetworks']}, a candidate of each of them costs "
        f"{every:.1f} times as much."
    )


def search(measured: dict[str, Any]) -> list[str]:
    """What a candidate costs, and how fast a front is found."""
    about = measured["about"]
    lines = [
        "## What a candidate costs",
        "",
        (
            f"Milliseconds per candidate on {about['images']} images, mean over the sub-networks, {about['masks']} masks each "
            f"that keep half of the channels, random weights and images, on a {where(about)}. General tool: pymoo, a copy of the "
            "network, Torch-Pruning, a forward pass of the whole network in full precision. Limit: the bare forward pass of "
            "the sliced sub-network in emodir's precision (1: as fast as that). Stacked: the other form of emodir's evaluator, "
            "candidates side by side on the batch axis with masks in place of slices, which a GPU may be faster with. The sides take turns, so a busy machine changes the times more than "
            "their ratios; emodir can be faster than its limit because what no mask changes is "
            "computed once."
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
            f"{memory['ours_mb']:.0f} MB here (the first sub-network's features are kept), {memory['general_mb']:.0f} MB with "
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
                "against EMO-DIR with short searches (a descent of each sub-network, the ranking, some generations of joint "
                "positions, then polishing); hypervolume of (MACs, error of the last features) on the same images."
            ),
            "",
            "| network | images | whole-network search | its seconds | hypervolume | EMO-DIR has it after | share of the time |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, reaching in measured["reaching"].items():
            for side, words in (
                ("plain", f"{reaching['generations']} generations"),
                ("guided", "with the descent and guided children besides"),
            ):
                seconds, value = reaching["whole_network"][side][-1]
                reached = reaching["reached_s"][side]
                last, most = reaching["emodir"][-1]
                told = (
                    f"{reached:.0f} s | {reached / seconds:.2f}" if reached else f"not in {last:.0f} s ({most:.4f}) | —"
                )
                lines.append(
                    f"| {TITLES.get(name, name)} | {reaching['images']} | {words} | {seconds:.0f} | {value:.4f} | {told} |"
                )
        lines.append("")
        for name, reaching in measured["reaching"].items():
            last, most = reaching["emodir"][-1]
            guided = reaching["whole_network"]["guided"]
            same = next((seconds for seconds, value in guided if value >= most), None)
            if same is not None and same < last:
                lines += [
                    (
                        f"- {TITLES.get(name, name)}: what EMO-DIR has in the end here ({most:.4f} after {last:.0f} s) the search of "
                        f"the whole network with the same descent and guided children has after {same:.0f} s: dividing saves no "
                        "time beside the guide."
                    )
                ]
            first = reaching["emodir"][0]
            found = reaching["agreement"]
            lines += [
                (
                    f"- {TITLES.get(name, name)}: EMO-DIR's first joint population, after {first[0]:.0f} s, has {first[1]:.4f}. "
                    "Impairments of 100 random schemes in bfloat16 and in full precision: rank correlation "
                    f"{found['rank_correlation']:.5f}, largest difference {100 * found['largest_difference']:.2f} % of the "
                    f"largest impairment. The searches ran in {reaching['precision']}, on a {where(reaching['about'])}."
                )
            ]
        lines.append("")
    return lines


if __name__ == "__main__":
    main()
