"""The results that stages hand on: plain values, kept on disk as they are."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from emodir_tui.arrays import Bools, Floats
from emodir_tui.emo.gpir import MeasuredMember
from emodir_tui.nets.measures.latency import LatencyTable

# A network's parameters and buffers by name, on the CPU.
Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Original:
    """The network before pruning. Accuracy 0 to 1 on the test split, latency in ms for a batch of 32 (or fewer) images.

    `latencies`, of each layer, are there where latency is the complexity that a mask is to reduce.
    """

    weights: Weights
    accuracy: float
    macs: int
    params: int
    latency_ms: float
    latencies: LatencyTable | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The cuts that were chosen and the names of the sub-networks between them."""

    cuts: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Front:
    """A sub-network's front, by rising complexity: masks bool[n, own genes], objectives float64[n, 2]."""

    subnetwork: str
    masks: Bools
    objectives: Floats
    reference: tuple[float, float]
    hypervolumes: tuple[float, ...]
    evaluations: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Importance:
    """Taylor importance of every gene of the network, float64[genes]."""

    values: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapted:
    """The network whose sub-networks fit their pruned neighbours, and the fronts as measured with it."""

    weights: Weights
    fronts: list[Front]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """Every member placed alone into the network, in the order of the fronts and their members."""

    rows: list[MeasuredMember]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The outcome of a measurement on which the rest of a run depends."""

    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DescentPath:
    """The schemes that a descent of the whole network measured: keep vectors bool[n, genes], objectives float64[n, 2]."""

    keep_vectors: Bools
    objectives: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Schemes:
    """The front of a search of joint schemes: keep vectors bool[n, genes], objectives float64[n, 2], and its history."""

    keep_vectors: Bools
    objectives: Floats
    reference: tuple[float, float]
    hypervolumes: tuple[float, ...]
    evaluations: int


@dataclass(frozen=True, kw_only=True, slots=True)
class JointFront:
    """The product of a run, by rising complexity.

    Positions int64[n, fronts], keep vectors bool[n, genes], objectives float64[n, 2], accuracies on the search split
    float64[n] and of the original network on the same images and batch statistics. `changed`, int64[n], is the number
    of genes in which a polished scheme differs from the members that the positions name, which are its nearest.
    """

    positions: npt.NDArray[np.int64]
    changed: npt.NDArray[np.int64]
    keep_vectors: Bools
    objectives: Floats
    accuracies: Floats
    original_accuracy: float
    hypervolumes: tuple[float, ...]
    evaluations: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A scheme that becomes a network: its number in the joint front, which rule chose it, and the complexity it keeps."""

    name: str
    rule: str
    scheme: int
    complexity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectedPicks:
    """The picks that the profile's rules selected."""

    picks: list[Pick]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """A network after removal: its structure, its recalibrated weights, and measurements. Shares and accuracies 0 to 1."""

    pick: Pick
    structure: str
    weights: Weights
    macs: int
    params: int
    macs_kept: float
    params_kept: float
    removal_max_difference: float
    accuracy_recalibrated: float
