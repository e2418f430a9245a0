"""emodir: prune convolutional networks by evolutionary multi-objective search."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from torch import nn

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(path: "str | os.PathLike[str]", model: "nn.Module | None" = None) -> "nn.Module":
    """A pruned network from a file that emodir wrote, in eval mode on the CPU; nothing in the file is executed.

    Args:
        path: The file.
        model: A fresh instance of the original architecture, where emodir can't build that from its name.

    Raises:
        emodir_tui.errors.ProfileError: The file is damaged, or does not fit the architecture.
    """
    # Imported here, so that the command line starts without torch.
    from pathlib import Path

    from emodir_tui.nets.export.pruned_file import load_pruned

    return load_pruned(Path(path), model)
