"""Table of what can be pruned in each network, what is protected and why, and the time of the analysis.

    python tools/networks.py [--write]

Needs no data and no trained weights. Prints the table of docs/networks.md; --write puts it there. Times are the best of three
on one core.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from emodir_tui.nets.coupling.channel_graph import ChannelGraph, analyse
from emodir_tui.nets.division import divide_network
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.sources.models import load_model
from emodir_tui.nets.tracing.network import trace

MODELS = [
    "resnet20", "resnet56", "resnet110", "vgg16", "digits-resnet",
    *(f"torchvision:{name}" for name in (
        "vgg16_bn", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "mobilenet_v2", "mobilenet_v3_small",
        "densenet121", "googlenet", "inception_v3", "efficientnet_b0", "regnet_y_400mf", "shufflenet_v2_x1_0",
        "mnasnet1_0", "squeezenet1_1", "convnext_tiny", "vit_b_16", "swin_t",
    )),
]  # fmt: skip
MARK = "<!-- table: tools/networks.py -->"


def main() -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "| model | groups | channels | parts | streams | emptiable branches | prunable share of the MACs | protected, and why | analysis, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for source in MODELS:
        lines.append(row(source))
        print(lines[-1], flush=True)
    if arguments.write:
        page = Path(__file__).parent.parent / "docs" / "networks.md"
        head, _, tail = page.read_text().partition(MARK)
        _, _, tail = tail.partition(MARK)
        page.write_text(head + MARK + "\n" + "\n".join(lines) + "\n" + MARK + tail)


def row(source: str) -> str:
    """The row of one model."""
    torch.manual_seed(0)
    model = load_model(source, "", 1000 if ":" in source else 10).eval()
    x = torch.randn(2, 3, 224, 224) if ":" in source else torch.randn(2, 1 if "digits" in source else 3, 32, 32)
    if source == "digits-resnet":
        x = x[:, :, :8, :8]
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        graph = analyse(trace(model, x))
        seconds.append(time.perf_counter() - began)
    division = divide_network(graph)
    channels = sum((group.stop - group.start) * group.channels_per_gene for group in graph.groups)
    cells = [
        source,
        str(len(graph.groups)),
        f"{channels:,}",
        str(len(division.subnetworks)),
        str(len(division.streams)),
        str(len(graph.branches)),
        f"{100 * prunable(graph):.1f} %",
        protected(graph),
        f"{min(seconds):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def prunable(graph: ChannelGraph) -> float:
    """The share of the MACs that is saved when every group keeps one gene."""
    model = ComplexityModel(graph)
    least = np.zeros((1, graph.genes), dtype=bool)
    least[0, [group.start for group in graph.groups]] = True
    whole = model.measure(np.ones((1, graph.genes), dtype=bool))[0]
    return float(1 - model.measure(least)[0] / whole)


def protected(graph: ChannelGraph) -> str:
    """Reasons with the number of channels, without the network's output, which always stays whole."""
    reasons: dict[str, int] = {}
    for item in graph.protected:
        if item.place != "output":
            reasons[item.reason] = reasons.get(item.reason, 0) + item.channels
    return "; ".join(f"{count:,} channels: {reason}" for reason, count in reasons.items()) or "—"


if __name__ == "__main__":
    main()
