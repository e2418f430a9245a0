"""Protected channels, with place and reason."""

from dataclasses import dataclass
from typing import TypeAlias

from torch import nn

from emodir_tui.nets.coupling.propagation import Propagation, owner
from emodir_tui.nets.coupling.rewrites import Resolution

ONE_GENE = "these channels can only be removed together, which would leave none"
Occurrences: TypeAlias = tuple[tuple[int, int], ...]
"""(slice, count): the slices that hold a united label, by position, and how often each does."""
Coupled: TypeAlias = tuple[Occurrences, list[int]]
"""United labels with the same occurrences: the genes of one group."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protected:
    """Channels that must stay: the place that requires it, their number, and the reason."""

    place: str
    channels: int
    reason: str


def protected(propagation: Propagation, resolution: Resolution, single: list[Coupled]) -> tuple[Protected, ...]:
    """The output channels without a gene, counted by place and reason."""
    causes = propagation.space.fixed_roots()
    for occurrences, roots in single:
        first = next(propagation.slices[i] for i, _ in occurrences if propagation.slices[i].role == "out")
        causes.update(dict.fromkeys(roots, (owner(first.tensor), ONE_GENE)))
    counted: dict[tuple[str, str], int] = {}
    seen: set[tuple[str, int]] = set()
    for piece in propagation.slices:
        if piece.role != "out" or (piece.tensor, piece.dim) in seen:
            continue
        seen.add((piece.tensor, piece.dim))
        for root in resolution.roots[piece.labels.numpy()].tolist():
            if root in causes:
                counted[causes[root]] = counted.get(causes[root], 0) + 1
    return tuple(Protected(place=place, channels=n, reason=reason) for (place, reason), n in counted.items())


def unused_modules(model: nn.Module, unused_parameters: tuple[str, ...]) -> list[Protected]:
    """The largest modules that do not run in evaluation mode, such as auxiliary classifiers."""
    found: dict[str, int] = {}
    for name in unused_parameters:
        parts = name.split(".")
        prefixes = [".".join(parts[:end]) for end in range(1, len(parts))]
        place = next((prefix for prefix in prefixes if _is_unused(model, prefix, unused_parameters)), name)
        layers = model.get_submodule(place).modules() if place in prefixes else ()
        found[place] = sum(_channels_made(layer) for layer in layers)
    reason = "it does not run in evaluation mode, so pruned networks do not contain it"
    return [Protected(place=place, channels=channels, reason=reason) for place, channels in found.items()]


def _is_unused(model: nn.Module, prefix: str, unused_parameters: tuple[str, ...]) -> bool:
    return all(name in unused_parameters for name, _ in model.get_submodule(prefix).named_parameters(prefix=prefix))


def _channels_made(layer: nn.Module) -> int:
    made = getattr(layer, "out_channels", None) or getattr(layer, "out_features", None)
    return made if isinstance(made, int) else 0
