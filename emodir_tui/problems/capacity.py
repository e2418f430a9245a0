"""What fine-tuning can give back: a scheme's impairment counts the parameters it takes, beside the error it makes.

Measured (docs/decisions.md): at the same MACs and the same error, the scheme that keeps more parameters is the better one
after fine-tuning.
"""

import numpy as np

from emodir_tui.arrays import Bools, Floats
from emodir_tui.bench import Bench, keep_all
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.measures.error_gradient import Changes


class Capacity:
    """An impairment whose odds are those of the error E, times exp(w · (1 − P)) for the share P of the capacity that is kept.

    So where an error is small, or near 1, little is paid for capacity: there is little to give back, or nothing to give it
    back to. Errors of 1 and above stay as they are. The capacity is the number of parameters; of MACs where parameters are
    the searched complexity, which is the same for all schemes at one budget.

    Args:
        bench: The bench.
        graph: The network.
        weight: w, 0 or more; 0 leaves the error as it is.
    """

    def __init__(self, bench: Bench, graph: ChannelGraph, weight: float) -> None:
        self.weight = weight
        self._model = ComplexityModel(graph, "macs" if bench.profile.complexity.kind == "params" else "params")
        self._total = float(self._model.measure(keep_all(graph))[0])

    def kept(self, keep_vectors: Bools) -> Floats:
        """P of keep vectors, float64[n] of bool[n, genes]."""
        return self._model.measure(keep_vectors) / self._total

    def impairments(self, errors: Floats, keep_vectors: Bools) -> Floats:
        """Of errors float64[n] and keep vectors bool[n, genes]."""
        growth = self._growth(keep_vectors)
        # Not finite stays not finite.
        inside = errors < 1.0
        return np.where(inside, (1.0 + growth) * errors / np.where(inside, 1.0 + growth * errors, 1.0), errors)

    def changes(self, changes: Changes, keep: Bools, cost: Floats) -> Changes:
        """The changes of the impairment, to first order, where a guide tells those of the error.

        Args:
            changes: At a mask, of some genes.
            keep: The mask as a keep vector, bool[genes].
            cost: By how much each of these genes changes P, float64[their number].
        """
        error = changes.error
        if error >= 1.0:
            return changes
        growth = float(self._growth(keep[None])[0])
        scale = 1.0 + growth * error
        impairment = (1.0 + growth) * error / scale
        slope = (1.0 + growth) / scale**2
        term = self.weight * impairment * (1.0 - impairment) * cost
        return Changes(impairment, slope * changes.removal + term, slope * changes.restoring - term)

    def _growth(self, keep_vectors: Bools) -> Floats:
        """By which share of themselves the odds grow; 0 at weight 0, which leaves errors exactly as they are."""
        return np.expm1(self.weight * (1.0 - self.kept(keep_vectors)))
