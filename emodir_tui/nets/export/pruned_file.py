"""A pruned network in one safetensors file: weights, structure, origin and measurements. No pickle."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from emodir_tui.errors import NotFoundError, ProfileError, first_line
from emodir_tui.foreign_files import foreign_file, open_foreign
from emodir_tui.nets.removal import apply_structure
from emodir_tui.nets.sources.models import WEIGHTS_BYTES, load_model, load_tensors
from emodir_tui.profile import LARGEST_SIDE, MOST_CLASSES
from emodir_tui.runs.directory import write_file
from emodir_tui.user_code import is_user_model

SCHEMA = 1
KEY = "emodir"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrunedFile:
    """The metadata of a pruned file.

    Attributes:
        source: The model source it was made from, as in a profile.
        classes: Number of classes.
        input_shape: (channels, height, width).
        structure: The kept channels, from `removal.structure`.
        details: Run, pick and measurements.
    """

    source: str
    classes: int
    input_shape: tuple[int, ...]
    structure: dict[str, Any]
    details: dict[str, Any]


def save_pruned(
    path: Path,
    weights: dict[str, Tensor],
    *,
    structure: str,
    source: str,
    classes: int,
    input_shape: tuple[int, ...],
    details: dict[str, Any],
) -> None:
    """Write a pruned network atomically.

    Raises:
        OSError: The file cannot be written.
    """
    header = {
        "schema": SCHEMA,
        "source": source,
        "classes": classes,
        "input_shape": list(input_shape),
        "structure": json.loads(structure),
        "details": details,
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    payload = save_safetensors(tensors, metadata={KEY: json.dumps(header)})
    write_file(path, payload)


def read_pruned(path: Path) -> tuple[PrunedFile, dict[str, Tensor]]:
    """Read the metadata and the weights of a pruned file.

    Raises:
        NotFoundError: The file does not exist.
        ProfileError: The file is damaged, or was not written by emodir.
    """
    with foreign_file(
        path,
        "a complete safetensors file",
        "Pruned networks are .safetensors files; export the network again from its run.",
    ):
        try:
            open_foreign(path, WEIGHTS_BYTES).close()
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no file {path}") from error
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    if KEY not in metadata:
        raise ProfileError(
            f"{path} has weights only, without the pruned structure",
            "Use the run's file, runs/RUN/export/PICK.safetensors; 'emodir export --format state' writes weights for "
            "other programs.",
        )
    with foreign_file(f"the header of {path}", "that of a pruned network", "Export it again from its run."):
        header = json.loads(metadata[KEY])
        if header["schema"] != SCHEMA:
            raise ProfileError(
                f"{path} has schema {header['schema']}; this emodir reads {SCHEMA}", "Use the newer emodir."
            )
        described = PrunedFile(
            source=str(header["source"]),
            classes=int(header["classes"]),
            input_shape=tuple(int(size) for size in header["input_shape"]),
            structure=dict(header["structure"]),
            details=dict(header["details"]),
        )
        if not 0 < described.classes <= MOST_CLASSES:
            raise ValueError(f"{described.classes} classes")
        if len(described.input_shape) != 3 or not all(0 < side <= LARGEST_SIDE for side in described.input_shape):
            raise ValueError(f"inputs of shape {list(described.input_shape)}")
    return described, weights


def load_pruned(path: Path, model: nn.Module | None = None) -> nn.Module:
    """Load a pruned network, in evaluation mode on the CPU.

    Args:
        path: A file that emodir wrote.
        model: A fresh instance of the original architecture. By default it is built from the file's model source, but
            never by user code, because a file must not choose which code runs.

    Raises:
        NotFoundError: The file does not exist.
        ProfileError: The file is damaged or does not fit the architecture, or its source is user code and no model is
            given.
    """
    described, weights = read_pruned(path)
    if model is None and is_user_model(described.source):
        raise ProfileError(
            f"{path} is of a model built by user code ({described.source}), and a file must not choose which code runs",
            "Give the model: load_pruned(path, model).",
        )
    try:
        original = model if model is not None else load_model(described.source, "", described.classes)
        example = torch.zeros(2, *described.input_shape)
        pruned = apply_structure(original, example, described.structure)
        load_tensors(pruned, weights)
    # The file says how the network is cut, so anything may be raised.
    except Exception as error:
        reason = first_line(error)
        raise ProfileError(
            f"{path} does not fit the architecture of {described.source} ({reason})",
            "Check that it is the same version of the model.",
        ) from error
    return pruned.eval()
