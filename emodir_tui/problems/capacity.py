"""The capacity that fine-tuning can use: a penalty on removed parameters in the impairment of a scheme.

Measured (docs/decisions.md): at the same MACs and the same error, the scheme that keeps more parameters is the better one
after fine-tuning.
"""

import numpy as np

from emodir_tui.arrays import Bools, Floats, GeneEffects, KeepVectors
from emodir_tui.bench import keep_all
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.runs.names import Complexity


class Capacity:
    """Multiplies the odds of an error E by exp(w · (1 − P)), for the share P of the capacity that is kept.

    The penalty vanishes for very small errors and for errors near 1, where fine-tuning has little to recover. Errors of 1
    and above stay as they are.

    Args:
        graph: The network.
        kind: The capacity: parameters, or MACs where parameters are the searched complexity, which is the same for all
            schemes at one budget.
        weight: w, 0 or more; 0 leaves the error as it is.
    """

    def __init__(self, graph: ChannelGraph, kind: Complexity, weight: float) -> None:
        self.weight = weight
        self._model = ComplexityModel(graph, kind)
        self._total = float(self._model.measure(keep_all(graph))[0])

    def kept(self, keep_vectors: KeepVectors) -> Floats:
        """P of keep vectors, float64[n] of bool[n, genes]."""
        return self._model.measure(keep_vectors) / self._total

    def impairments(self, errors: Floats, keep_vectors: KeepVectors) -> Floats:
        """The impairments float64[n] of errors float64[n] made by keep vectors bool[n, genes]."""
        growth = self._growth(keep_vectors)
        # Infinite errors stay infinite.
        inside = errors < 1.0
        return np.where(inside, (1.0 + growth) * errors / np.where(inside, 1.0 + growth * errors, 1.0), errors)

    def effects(self, effects: GeneEffects, keep: Bools, cost: Floats) -> GeneEffects:
        """The effects of genes on the impairment, to first order, from their effects on the error.

        Args:
            effects: At a mask, of some genes.
            keep: The mask as a keep vector, bool[genes].
            cost: The change of P by each of these genes, float64[their number].
        """
        error = effects.error
        if error >= 1.0:
            return effects
        growth = float(self._growth(keep[None])[0])
        scale = 1.0 + growth * error
        impairment = (1.0 + growth) * error / scale
        slope = (1.0 + growth) / scale**2
        term = self.weight * impairment * (1.0 - impairment) * cost
        return GeneEffects(impairment, slope * effects.removal + term, slope * effects.restoring - term)

    def _growth(self, keep_vectors: KeepVectors) -> Floats:
        """The relative growth of the odds, float64[n]; exactly 0 at weight 0, which leaves errors as they are."""
        return np.expm1(self.weight * (1.0 - self.kept(keep_vectors)))
