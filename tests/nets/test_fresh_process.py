import json
import subprocess
import sys

import torch

from emodir_tui.nets.export.pruned_file import save_pruned
from emodir_tui.nets.removal import remove, structure
from emodir_tui.nets.sources.models import load_model
from tests.support.models import disturbed, graph_of, random_keep

LOAD = """
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file
from emodir_tui.nets.export.pruned_file import load_pruned
for folder in map(Path, sys.argv[1:]):
    known = load_file(folder / "known.safetensors")
    with torch.no_grad():
        same = torch.equal(load_pruned(folder / "pruned.safetensors")(known["x"]), known["y"])
    print(folder.name, same)
"""


def test_saved_networks_come_back_bit_for_bit_in_a_fresh_process(tmp_path):
    """Own classes and graphs, emptied branches, shuffles, and a layer that asks for its format's version."""
    from safetensors.torch import save_file

    names = ["digits-resnet", "torchvision:shufflenet_v2_x0_5", "torchvision:mnasnet0_5"]
    for name in names:
        torch.manual_seed(0)
        model, x = (
            disturbed(load_model(name, "", 10)),
            torch.randn(2, *((1, 8, 8) if "digits" in name else (3, 64, 64))),
        )
        graph = graph_of(model, x)
        keep = random_keep(graph, 1, empty=True)
        made = remove(graph, keep)
        folder = tmp_path / name
        save_pruned(
            folder / "pruned.safetensors",
            made.state_dict(),
            structure=json.dumps(structure(graph, keep)),
            source=name,
            classes=10,
            input_shape=tuple(x.shape[1:]),
            details={},
        )
        with torch.no_grad():
            save_file({"x": x, "y": made(x)}, folder / "known.safetensors")
    command = [sys.executable, "-c", LOAD, *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == [f"{name} True" for name in names]
