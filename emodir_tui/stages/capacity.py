"""What fine-tuning can give back: a scheme's impairment counts the parameters it takes, beside the error it makes.

Measured (docs/method.md): at the same MACs and the same error, the scheme that keeps more parameters is the better one
after fine-tuning.
"""

import numpy as np

from emodir_tui.nets.complexity import ComplexityModel
from emodir_tui.nets.groups import ChannelGraph
from emodir_tui.nets.guide import Changes
from emodir_tui.stages.bench import Bench, keep_all
from emodir_tui.stages.results import Bits, Floats


class Capacity:
    """Impairment E + w · (1 − P) · (1 − E) of the error E and the share P of the capacity that is kept.

    The capacity is the number of parameters; of MACs where parameters are the searched complexity, which is the same for
    all schemes at one budget. What is lost to the error can't be recovered, so the term fades where E grows to 1.

    Args:
        bench: The bench.
        graph: The network.
        weight: w, 0 to 1; 0 leaves the error as it is.
    """

    def __init__(self, bench: Bench, graph: ChannelGraph, weight: float) -> None:
        self.weight = weight
        self._model = ComplexityModel(graph, "macs" if bench.profile.complexity.kind == "params" else "params")
        self._total = float(self._model.measure(keep_all(graph))[0])

    def kept(self, keeps: Bits) -> Floats:
        """P of keep vectors, float64[n] of bool[n, genes]."""
        return self._model.measure(keeps) / self._total

    def impairments(self, errors: Floats, keeps: Bits) -> Floats:
        """Of errors float64[n] and keep vectors bool[n, genes]."""
        return errors + self.weight * (1.0 - self.kept(keeps)) * np.maximum(0.0, 1.0 - errors)

    def changes(self, changes: Changes, keep: Bits, cost: Floats) -> Changes:
        """The changes of the impairment, to first order, where a guide tells those of the error.

        Args:
            changes: At a mask, of some genes.
            keep: The mask as a keep vector, bool[genes].
            cost: By how much each of these genes changes P, float64[their number].
        """
        if changes.error >= 1.0:
            return changes
        lost = self.weight * (1.0 - float(self.kept(keep[None])[0]))
        term = self.weight * (1.0 - changes.error) * cost
        return Changes(
            changes.error + lost * (1.0 - changes.error),
            changes.removal * (1.0 - lost) + term,
            changes.restoring * (1.0 - lost) - term,
        )
