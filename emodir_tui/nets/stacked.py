"""Evaluation of masks in the form that accelerators like: candidates stacked on the batch axis, in shapes that never change.

Nothing is sliced. Removed channels are masked where they are consumed, so all candidates run through the same weights in
one pass; on CUDA the pass is recorded once and replayed. Batch statistics stay each candidate's own.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emodir_tui.nets.channels import Keep
from emodir_tui.nets.evaluate import AT_ONCE, FeatureError
from emodir_tui.nets.graph import CutPoint
from emodir_tui.nets.groups import ChannelGraph
from emodir_tui.nets.masked import MaskedNetwork
from emodir_tui.nets.span import working_bytes

Floats = npt.NDArray[np.float64]

# More candidates at once feed no device better, and the last pass of a generation is padded to this many.
MOST = 16


class StackedEvaluator:
    """Evaluates masks of one span on cached features, several in one pass; the same values as `SubnetworkEvaluator`.

    Args:
        graph: The network.
        start: Where the span begins; None at the input.
        stop: Where it ends; None at the logits.
        inputs: Its original input features, a tensor [n, c, …] a batch.
        impairment: Of its output.
        varying: The genes that masks may drop, bool[genes]; all unless given. What they leave as it is, is computed once.
        memory: Bytes for what is computed once (where they are too few it is computed for each pass), and for what a
            pass needs.
        dtype: Precision of the layers; impairments are summed in full precision.
        candidates: In one pass; what the memory holds, and at most `MOST`, unless given.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        start: CutPoint | None,
        stop: CutPoint | None,
        inputs: Sequence[Tensor],
        impairment: FeatureError,
        *,
        varying: Keep | None = None,
        memory: int = 1 << 30,
        dtype: torch.dtype = torch.float32,
        candidates: int = 0,
    ) -> None:
        each = AT_ONCE * working_bytes(graph, start, stop, max(len(batch) for batch in inputs))[0]
        self.candidates = candidates or max(1, min(MOST, memory // max(1, each)))
        self._device = graph.network.example.device
        self._dtype = dtype
        self._impairment = impairment
        self._inputs = [batch.to(dtype) for batch in inputs]
        self._network = MaskedNetwork(graph, start, stop, varying=varying)
        self._known = self._settle(memory)
        self._network.replace_norms(lambda norm: _NormOfEach(norm, self.candidates))
        self._gates = torch.ones(self.candidates, graph.genes, device=self._device, dtype=dtype)
        self._pass = _recorded(self._errors) if self._device.type == "cuda" else self._errors

    def evaluate(self, keeps: Keep, check: Callable[[], None] = lambda: None) -> Floats:
        """The impairment of each keep vector, bool[n, genes] to float64[n]; `check` is called before each pass."""
        if not len(keeps):
            return np.zeros(0)
        values = []
        # One transfer there and one back for all candidates: a device is never waited for in the loop.
        gates = torch.from_numpy(np.ascontiguousarray(keeps)).to(self._device, self._dtype)
        for some in gates.split(self.candidates):
            check()
            self._gates.copy_(torch.cat([some, some[-1:].expand(self.candidates - len(some), -1)]))
            values.append(self._pass()[: len(some)].clone())
        return torch.cat(values).cpu().numpy()

    @torch.no_grad()
    def _errors(self) -> Tensor:
        """The impairments under the present gates, float64[candidates]."""
        total = torch.zeros(self.candidates, dtype=torch.float64, device=self._device)
        for index, (inputs, known) in enumerate(zip(self._inputs, self._known, strict=True)):
            gates = self._gates.repeat_interleave(len(inputs), dim=0)
            with self._precision():
                output = self._network(_stacked(inputs, self.candidates), gates, self._spread(known))
            total += self._impairment.squares(index, output.float().unflatten(0, (self.candidates, -1)))
        return total / self._impairment.total

    @torch.no_grad()
    def _settle(self, memory: int) -> list[dict[str, Tensor]]:
        """What is computed once, batch by batch; nothing where the first batch tells that all would not fit."""
        found: list[dict[str, Tensor]] = []
        for inputs in self._inputs:
            with self._precision():
                known = self._network.settle(inputs)
            size = sum(value.numel() * value.element_size() for value in known.values())
            if size * len(self._inputs) > memory:
                return [{} for _ in self._inputs]
            found.append(known)
        return found

    def _spread(self, known: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: _stacked(value, self.candidates) for name, value in known.items()}

    def _precision(self) -> torch.autocast | nullcontext[None]:
        return torch.autocast(self._device.type, self._dtype) if self._dtype != torch.float32 else nullcontext()


class _NormOfEach(nn.Module):
    """A batch normalisation by the statistics of each candidate's own images.

    Ioffe and Szegedy (2015): y = (x − E[x]) / √(Var[x] + ε) · γ + β, with E and Var over a candidate's images and
    positions, per channel, the variance the biased one.
    """

    def __init__(self, norm: nn.Module, candidates: int) -> None:
        super().__init__()
        self._candidates = candidates
        self._eps = float(norm.eps)  # type: ignore[arg-type]
        self._weight: Tensor | None = norm.weight  # type: ignore[assignment]
        self._bias: Tensor | None = norm.bias  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """[candidates · n, c, …] to the same."""
        each = x.unflatten(0, (self._candidates, -1))
        over = [1, *range(3, each.dim())]
        mean = each.mean(over, keepdim=True, dtype=torch.float32)
        variance = each.float().sub(mean).square_().mean(over, keepdim=True)
        scale = (variance + self._eps).rsqrt()
        shape = [1, 1, -1, *[1] * (each.dim() - 3)]
        if self._weight is not None:
            scale = scale * self._weight.view(shape)
        shift = -mean * scale
        if self._bias is not None:
            shift = shift + self._bias.view(shape)
        return torch.addcmul(shift, each, scale).to(x.dtype).flatten(0, 1)


def _stacked(value: Tensor, candidates: int) -> Tensor:
    """[n, …] to [candidates · n, …], one candidate's images after another's."""
    return value.repeat(candidates, *[1] * (value.dim() - 1))


def _recorded(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The work as a CUDA graph: what it reads and writes stays where it is, and it costs one launch."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        # Libraries choose their kernels and take their workspaces before a graph may be recorded.
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
