"""Evaluation of keep vectors for accelerators: candidates stacked on the batch axis, in fixed shapes.

Nothing is sliced. Removed channels are masked where they are consumed, so all candidates use the same weights in one
pass. On CUDA the pass is recorded once and replayed. Batch statistics are those of each candidate alone.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from emodir_tui.arrays import Floats, KeepVectors
from emodir_tui.errors import ProfileError, first_line
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.execution.evaluators import LIVE_OUTPUTS, FeatureError, bytes_of
from emodir_tui.nets.execution.masked import MaskedNetwork
from emodir_tui.nets.execution.program import BATCH_NORMS
from emodir_tui.nets.execution.span import working_bytes
from emodir_tui.nets.modules.precision import autocast
from emodir_tui.nets.tracing.network import CutPoint

# More candidates at once are not faster, and the last pass of a generation is padded to the full number.
MAX_CANDIDATES = 16
_STACKABLE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class UnstackableError(ValueError):
    """Raised if the network has an operation that would mix the candidates of a pass."""


class StackedEvaluator:
    """Evaluates keep vectors of one span on cached features, several per pass, like `SubnetworkEvaluator`.

    Args:
        graph: The network.
        start: The span begins after this cut; None for the input.
        stop: The span ends with this cut; None for the logits.
        inputs: Its original input features, one tensor [n, c, …] per batch.
        impairment: The error of its output.
        varying: The genes that the keep vectors may remove, bool[genes]; all by default. Activations that do not depend
            on them are precomputed.
        memory: Bytes. Half of them are for precomputed activations, which are computed in each pass if they do not fit;
            the rest is for the working memory of a pass. A pass of one candidate is always possible.
        dtype: Precision of the layers; impairments are summed in full precision.
        candidates: Candidates per pass; by default as many as the memory allows, at most `MAX_CANDIDATES`.

    Raises:
        UnstackableError: A normalisation would use statistics over the images of several candidates.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        start: CutPoint | None,
        stop: CutPoint | None,
        inputs: Sequence[Tensor],
        impairment: FeatureError,
        *,
        varying: KeepVectors | None = None,
        memory: int = 1 << 30,
        dtype: torch.dtype = torch.float32,
        candidates: int = 0,
    ) -> None:
        self._device = graph.network.example.device
        self._dtype = dtype
        self._impairment = impairment
        self._inputs = [batch.to(dtype) for batch in inputs]
        self._network = MaskedNetwork(graph, start, stop, varying=varying)
        self._precomputed = self._precompute(memory // 2)
        beginning = bytes_of([self._inputs[0], *self._precomputed[0].values()])
        inside = working_bytes(graph, start, stop, len(inputs[0]))[0] * dtype.itemsize // 4
        spare = memory - sum(bytes_of(precomputed.values()) for precomputed in self._precomputed)
        self.candidates = candidates or max(1, min(MAX_CANDIDATES, spare // (beginning + LIVE_OUTPUTS * inside)))
        self._network.replace(self._own_statistics)
        self._gates = torch.ones(self.candidates, graph.genes, device=self._device, dtype=dtype)
        # One pass for each batch size, because a recorded pass owns the memory of its arguments.
        self._passes: dict[int, Callable[..., Tensor]] = {}

    def evaluate(self, keep_vectors: KeepVectors, check: Callable[[], None] = lambda: None) -> Floats:
        """The impairment of each keep vector, bool[n, genes] to float64[n]; `check` is called before each pass."""
        if not len(keep_vectors):
            return np.zeros(0)
        values = []
        # One transfer in each direction for all candidates, so that the loop never waits for the device.
        gates = torch.from_numpy(np.ascontiguousarray(keep_vectors)).to(self._device, self._dtype)
        for some in gates.split(self.candidates):
            check()
            self._gates.copy_(torch.cat([some, some[-1:].expand(self.candidates - len(some), -1)]))
            values.append(self._errors()[: len(some)])
        return torch.cat(values).cpu().numpy()

    @torch.no_grad()
    def _errors(self) -> Tensor:
        """The impairments under the current gates, float64[candidates]."""
        total = torch.zeros(self.candidates, dtype=torch.float64, device=self._device)
        batches = zip(self._inputs, self._impairment.references, self._precomputed, strict=True)
        for inputs, reference, precomputed in batches:
            arguments = (inputs, reference, *precomputed.values())
            if len(inputs) not in self._passes:
                work = partial(self._squares, tuple(precomputed))
                recorded = self._device.type == "cuda"
                self._passes[len(inputs)] = _Recorded(work, arguments) if recorded else work
            total += self._passes[len(inputs)](*arguments)
        return total / self._impairment.total

    def _squares(self, names: tuple[str, ...], inputs: Tensor, reference: Tensor, *precomputed: Tensor) -> Tensor:
        """‖S(x, m) − S(x)‖² on one batch, float64[candidates]; a removed channel is 0 and costs all of its energy."""
        gates = self._gates.repeat_interleave(len(inputs), dim=0)
        stacked = {name: self._stacked(value) for name, value in zip(names, precomputed, strict=True)}
        with autocast(self._device, self._dtype):
            output = self._network(self._stacked(inputs), gates, stacked)
        difference: Tensor = output.float().unflatten(0, (self.candidates, -1)) - reference
        return difference.square_().sum(tuple(range(1, difference.dim()))).double()

    @torch.no_grad()
    def _precompute(self, memory: int) -> list[dict[str, Tensor]]:
        """The activations that no mask changes, per batch; empty if they would not fit."""
        found: list[dict[str, Tensor]] = []
        for inputs in self._inputs:
            with autocast(self._device, self._dtype):
                precomputed = self._network.precompute(inputs)
            if bytes_of(precomputed.values()) * len(self._inputs) > memory:
                return [{} for _ in self._inputs]
            found.append(precomputed)
        return found

    def _stacked(self, value: Tensor) -> Tensor:
        """[n, …] repeated to [candidates · n, …], candidate by candidate."""
        # Unlike repeat, this keeps the channels last in memory.
        return torch.cat([value] * self.candidates)

    def _own_statistics(self, leaf: nn.Module) -> nn.Module:
        if type(leaf) in _STACKABLE:
            return _NormOfEach(leaf, self.candidates)
        if any(isinstance(module, BATCH_NORMS) for module in leaf.modules()):
            raise UnstackableError(
                f"{type(leaf).__name__} normalises over its batch, but is not a plain batch normalisation"
            )
        return leaf


class _NormOfEach(nn.Module):
    """A batch normalisation that uses the statistics of each candidate's images alone.

    Ioffe and Szegedy (2015): y = (x − E[x]) / √(Var[x] + ε) · γ + β, with E and Var over a candidate's images and
    positions, per channel, where Var is the biased variance.
    """

    def __init__(self, norm: nn.Module, candidates: int) -> None:
        super().__init__()
        self._candidates = candidates
        self._eps = float(norm.eps)  # type: ignore[arg-type]
        self._weight: Tensor | None = norm.weight  # type: ignore[assignment]
        self._bias: Tensor | None = norm.bias  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x, [candidates · n, c, …]."""
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


class _Recorded:
    """A function of tensors, recorded as a CUDA graph: a call copies its arguments and costs one launch.

    Args:
        work: Runs the same operations for all tensors of these shapes, without waiting for the device.
        arguments: Example arguments; later ones must have the same shapes and types.

    Raises:
        RuntimeError: The work fails, or waits for the device.
        ProfileError: The work cannot be recorded for another reason.
    """

    def __init__(self, work: Callable[..., Tensor], arguments: Sequence[Tensor]) -> None:
        self._arguments = [argument.clone() for argument in arguments]
        device = self._arguments[0].device
        # Restores the current stream even if a failed recording leaves its own as the current one.
        with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                # Libraries choose kernels and allocate workspaces in the first calls, which cannot be recorded.
                for _ in range(2):
                    work(*self._arguments)
                # A call that would break the recording fails here, before there is one.
                mode = torch.cuda.get_sync_debug_mode()
                try:
                    # torch warns that this mode is a prototype.
                    with warnings.catch_warnings(action="ignore"):
                        torch.cuda.set_sync_debug_mode("error")
                    work(*self._arguments)
                finally:
                    torch.cuda.set_sync_debug_mode(mode)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            try:
                # Other threads may use the device meanwhile.
                with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                    self._result = work(*self._arguments)
            except RuntimeError as error:
                # PyTorch's allocator stays inside the failed recording, so this process cannot continue.
                raise ProfileError(
                    f"this network cannot be recorded as a CUDA graph ({first_line(error)})",
                    "Use search.evaluator = 'sliced'.",
                ) from error

    def __call__(self, *arguments: Tensor) -> Tensor:
        """The work's result, which the next call overwrites."""
        for own, argument in zip(self._arguments, arguments, strict=True):
            own.copy_(argument)
        self._graph.replay()
        return self._result
