"""A pruned network in one safetensors file: weights, structure, origin, and what was measured. No pickle."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from emodir_tui.errors import NotFoundError, ProfileError, first_line
from emodir_tui.nets.removal import apply_structure
from emodir_tui.nets.sources.models import is_user_code, load_model, load_tensors
from emodir_tui.runs.directory import write_file

SCHEMA = 1
KEY = "emodir"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrunedFile:
    """What a pruned file says of itself.

    Attributes:
        source: The model source it was made from, as in a profile.
        classes: Number of classes.
        input_shape: (channels, height, width).
        structure: Which channels went.
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
    """Write a pruned network, whole or not at all.

    Raises:
        OSError: As the disk says.
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
    """What a pruned file holds.

    Raises:
        NotFoundError: It is not there.
        ProfileError: It is damaged, or not a pruned network that emodir wrote.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise ProfileError(
            f"{path} is not a whole safetensors file ({error})",
            "Pruned networks are in .safetensors files; export it again from its run.",
        ) from error
    if KEY not in metadata:
        raise ProfileError(
            f"{path} holds weights alone, and not what was pruned",
            "Take the run's own file, runs/RUN/export/PICK.safetensors: 'emodir export --format state' writes weights for "
            "other programs.",
        )
    try:
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
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ProfileError(f"the header of {path} is damaged", "Export it again from its run.") from error
    return described, weights


def load_pruned(path: Path, model: nn.Module | None = None) -> nn.Module:
    """The pruned network, in eval mode on the CPU.

    Args:
        path: A file that emodir wrote.
        model: A fresh instance of the original architecture; made from the file's model source if not given, but never by
            code of somebody's own: a file must not choose what is run.

    Raises:
        NotFoundError: There is no such file.
        ProfileError: It is damaged, does not fit the architecture, or names own code and no model is given.
    """
    described, weights = read_pruned(path)
    if model is None and is_user_code(described.source):
        raise ProfileError(
            f"{path} is of a model that {described.source} makes, and a file must not choose what code is run",
            "Give the model: load_pruned(path, model).",
        )
    original = model if model is not None else load_model(described.source, "", described.classes)
    try:
        example = torch.zeros(2, *described.input_shape)
        pruned = apply_structure(original, example, described.structure)
        load_tensors(pruned, weights)
    except (ProfileError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        reason = first_line(error)
        raise ProfileError(
            f"{path} does not fit the architecture of {described.source} ({reason})",
            "Is it the same version of the model?",
        ) from error
    return pruned.eval()
