"""Rewrites of the nodes whose constants depend on numbers of channels, decided from the labels.

Where no rewrite would be correct, the channels are protected and all rewrites are decided again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from emodir_tui.nets.coupling.labels import along, compact, varying
from emodir_tui.nets.coupling.propagation import Propagation


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewrite:
    """One node of the graph that becomes a channel leaf.

    Attributes:
        kind: `pad`, `split`, `gather`, `view` or `expand`.
        source: The node whose tensor the leaf takes.
        dim: The channel dimension of its output.
        labels: Labels of its parts: (before, after) of a pad, those of each part of a split, the result's for a view,
            the source's for a gather.
        options: Further arguments of the leaf's constructor.
    """

    kind: str
    source: fx.Node
    dim: int
    labels: tuple[Tensor, ...]
    options: dict[str, Any]


class Resolution:
    """The rewrites of a labelled graph.

    Attributes:
        rewrites: The rewrite of each node that needs one.
        roots: The representative of each label, int64[labels].
        free: Whether each label may be removed, bool[labels].
    """

    def __init__(self, propagation: Propagation) -> None:
        self._propagation = propagation
        self._stable = False
        while not self._stable:
            self._stable = True
            self.rewrites: dict[fx.Node, Rewrite] = {}
            self._scattered: dict[fx.Node, tuple[fx.Node, Any]] = {}
            self._count_readers: set[fx.Node] = set()
            self.roots = propagation.space.roots()
            self.free = np.ones(len(self.roots), dtype=bool)
            self.free[list(propagation.space.fixed_roots())] = False
            self.free = self.free[self.roots]
            for node in propagation.module.graph.nodes:
                self._visit(node)
                self._guard_numbers(node)

    def rooted(self, labels: Tensor) -> Tensor:
        """Labels replaced by what they are united with."""
        return torch.from_numpy(self.roots)[compact(labels)].expand(labels.shape)

    def removable(self, value: Any) -> bool:
        """Whether any channel of a label tensor, or of a tuple of label tensors, may be removed."""
        if isinstance(value, (tuple, list)):
            return any(self.removable(part) for part in value)
        return isinstance(value, Tensor) and bool(self.free[compact(value).numpy()].any())

    def dims(self, labels: Tensor) -> list[int]:
        """The dimensions along which united labels change."""
        return varying(self.rooted(labels))

    def _fix(self, node: fx.Node, source: fx.Node, reason: str) -> None:
        self._propagation.protect(node, self._propagation.values[source], reason)
        self._stable = False

    def _visit(self, node: fx.Node) -> None:
        scattered = [source for source in node.all_input_nodes if source in self._scattered]
        if node in self._propagation.movements:
            source = node.all_input_nodes[0]
            if self.removable(self._propagation.values[source]):
                self._movement(node, source)
        elif scattered and not self._picks(node):
            for source in scattered:
                self._fix(node, source, "channels lie in several dimensions here")
        elif self._picks(node):
            self._scattered[node] = (self._scattered[scattered[0]][0], self._scattered[scattered[0]][1][node.args[1]])
            self._close(node)
        else:
            self._static(node)

    def _guard_numbers(self, node: fx.Node) -> None:
        """Protect channels whose number enters a node that is neither rewritten nor a view by that very number."""
        if "shape" not in node.meta or node in self.rewrites or node in self._scattered or node in self._count_readers:
            return
        for source in node.all_input_nodes:
            for labels in self._propagation.sizes.get(source, ()):
                if self.removable(labels):
                    self._propagation.protect(node, labels, "a number of channels enters here")
                    self._stable = False

    def _picks(self, node: fx.Node) -> bool:
        """Whether a node takes an item of a tuple whose channels lie in several dimensions."""
        source = node.all_input_nodes[0] if node.all_input_nodes else None
        return source in self._scattered and isinstance(self._scattered[source][1], (tuple, list))

    def _static(self, node: fx.Node) -> None:
        if node in self._propagation.pads and self.removable(self._propagation.values[node]):
            source, dim = self._propagation.channel_dims[node]
            before, after, options = self._propagation.pads[node]
            self.rewrites[node] = Rewrite(kind="pad", source=source, dim=dim, labels=(before, after), options=options)
        if node in self._propagation.channel_dims:
            source, dim = self._propagation.channel_dims[node]
            labels = self._propagation.values[source]
            if self.removable(labels) and set(self.dims(labels)) - {dim}:
                self._fix(node, source, "its input holds channels in another dimension than it needs")

    def _movement(self, node: fx.Node, source: fx.Node) -> None:
        kind, made = self._propagation.movements[node].kind, self._propagation.values[node]
        parts = made if isinstance(made, tuple) else (made,)
        narrow = source not in self._scattered and all(
            len(self.dims(part)) <= 1 for part in (self._propagation.values[source], *parts)
        )
        if narrow and self._stays_simple(node, source, kind, made):
            return
        origin, places = self._scattered.get(source) or (source, _places(self._propagation.shape(source)))
        if isinstance(places, (tuple, list)):
            self._fix(node, source, "channels lie in several dimensions here")
            return
        self._scattered[node] = (origin, self._propagation.movements[node].replay(places))
        if not isinstance(made, tuple):
            self._close(node)

    def _stays_simple(self, node: fx.Node, source: fx.Node, kind: str, made: Any) -> bool:
        """Handle a movement between single channel dimensions; False if it needs a gather or is not possible."""
        before = self.dims(self._propagation.values[source])
        if kind == "free" or not before:
            return True
        if kind == "split":
            return self._split(node, source, made, before[0])
        after = self.dims(made)
        if kind == "index":
            same = len(made.shape) == len(self._propagation.shape(source)) and after == before
            untouched = same and made.shape[after[0]] == self._propagation.shape(source)[before[0]]
            return untouched and bool(
                (along(made, after[0]) == along(self._propagation.values[source], before[0])).all()
            )
        if len(after) != 1 or kind == "gather" or not self._survives_removal(node, source, before[0], after[0]):
            return False
        if kind == "view" and self._reads_count(node, made, after[0]):
            self._count_readers.add(node)
        elif kind == "view":
            sizes = self._view_sizes(node, made, after[0])
            self.rewrites[node] = Rewrite(
                kind="view", source=source, dim=after[0], labels=(along(made, after[0]),), options={"sizes": sizes}
            )
        elif kind == "expand":
            self.rewrites[node] = Rewrite(kind="expand", source=source, dim=after[0], labels=(), options={})
        return True

    def _split(self, node: fx.Node, source: fx.Node, made: tuple[Tensor, ...], dim: int) -> bool:
        if sum(part.shape[dim] for part in made) != self._propagation.shape(source)[dim] or len(made) == 0:
            return False
        whole = torch.cat([along(part, dim) for part in made])
        if not bool((whole == along(self._propagation.values[source], dim)).all()):
            return all(part.shape[dim] == self._propagation.shape(source)[dim] for part in made)
        labels = tuple(along(part, dim) for part in made)
        self.rewrites[node] = Rewrite(kind="split", source=source, dim=dim, labels=labels, options={})
        return True

    def _reads_count(self, node: fx.Node, made: Tensor, dim: int) -> bool:
        """Whether a view's channel size is -1 or the channels' own count, and no other size depends on channels."""
        given = _given_sizes(node)
        if len(given) != made.dim() or any(size in self._propagation.sizes for d, size in enumerate(given) if d != dim):
            return False
        counted = self._propagation.counts.get(given[dim]) if isinstance(given[dim], fx.Node) else None
        if counted is None:
            return bool(given[dim] == -1)
        wanted = along(made, dim)
        return len(counted) == len(wanted) and torch.equal(self.rooted(counted), self.rooted(wanted))

    def _view_sizes(self, node: fx.Node, made: Tensor, dim: int) -> list[int | None]:
        """The sizes that a view must store: that of its channels, and others computed from a number of channels."""
        given = _given_sizes(node)
        if len(given) != made.dim():
            return [-1 if d == 0 else int(size) for d, size in enumerate(made.shape)]
        tainted = [isinstance(size, fx.Node) and size in self._propagation.sizes for size in given]
        sizes: list[int | None] = [int(made.shape[d]) if tainted[d] else None for d in range(made.dim())]
        sizes[dim] = int(made.shape[dim])
        return sizes

    def _survives_removal(self, node: fx.Node, source: fx.Node, before: int, after: int) -> bool:
        """Test whether removing a random half of the channels before and after the movement gives the same."""
        generator = np.random.default_rng(0)
        made, labels = self._propagation.values[node], self._propagation.values[source]
        places = _places(self._propagation.shape(source))
        if made.numel() == 0:
            return False
        for _ in range(2):
            kept_labels = generator.random(len(self.roots)) < 0.5
            kept_labels[~self.free] = True
            kept_labels = kept_labels[self.roots]
            rows, kept = (
                torch.from_numpy(np.flatnonzero(kept_labels[along(t, d).numpy()]))
                for t, d in ((labels, before), (made, after))
            )
            shape = list(made.shape)
            shape[after] = len(kept)
            first = places.index_select(before, rows)
            then = self._propagation.movements[node].replay(places).index_select(after, kept)
            if self._propagation.movements[node].kind == "expand":
                first = first.expand(shape)
            if first.numel() != then.numel() or not torch.equal(first.reshape(shape), then):
                return False
        return True

    def _close(self, node: fx.Node) -> None:
        """Rewrite as one gather all movements since channels left their dimension, if they are in one again."""
        origin, places = self._scattered[node]
        labels, start = self._propagation.values[node], self._propagation.values[origin]
        first, last = self.dims(start), self.dims(labels)
        if len(first) > 1 or len(last) > 1 or places.dim() != start.dim():
            return
        dim = first[0] if first else 1
        if (last and last[0] != dim) or [s for d, s in enumerate(places.shape) if d != dim] != [
            s for d, s in enumerate(start.shape) if d != dim
        ]:
            return
        spots = _places(self._propagation.shape(origin))
        step = spots.stride(dim)
        index = along(places, dim) // step % start.shape[dim]
        if torch.equal(spots.index_select(dim, index), places):
            del self._scattered[node]
            self.rewrites[node] = Rewrite(
                kind="gather", source=origin, dim=dim, labels=(along(start, dim),), options={"index": index}
            )


def _given_sizes(node: fx.Node) -> list[Any]:
    given = list(node.args[1:])
    return list(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


def _places(shape: tuple[int, ...]) -> Tensor:
    """The index of each element, from which a movement can be read off."""
    return torch.arange(int(np.prod(shape))).view(shape)
