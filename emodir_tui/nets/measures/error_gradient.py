"""The gradient of a span's feature error, which predicts the effect of each gene at a mask."""

from collections.abc import Sequence

import torch
from torch import Tensor

from emodir_tui.arrays import GeneEffects, KeepVectors
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.execution.masked import MaskedNetwork
from emodir_tui.nets.execution.parallel import map_parallel, workers_for
from emodir_tui.nets.execution.span import working_bytes
from emodir_tui.nets.modules.precision import autocast
from emodir_tui.nets.modules.transfer import to_device
from emodir_tui.nets.tracing.network import CutPoint


class ErrorGradient:
    """Predicts how a span's feature error E(m) = ‖S(x, m) − S(x)‖² / ‖S(x)‖² changes with each gene.

    With a gate γ_i on every gene's channels, to second order and with the curvature of Gauss and Newton,
    E(γ_i: 1 → 0) − E ≈ −∂E/∂γ_i + ‖∂S/∂γ_i‖² / ‖S(x)‖². The norm is estimated by Hutchinson's method, with one random
    sign vector per image. For a gene that is restored, 0 → 1, the first order alone orders genes better (measured).

    Args:
        graph: The network whose masks are searched.
        start: Where the span begins; None at the input.
        stop: Where it ends; None at the logits.
        inputs: Its input features, one tensor a batch. A small sample does: predictions only order genes.
        references: What its output should be, one tensor a batch.
        memory: Bytes for what masks side by side need; one mask always gets what it needs.
        dtype: Precision of the layers; bfloat16 is enough to order genes.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        start: CutPoint | None,
        stop: CutPoint | None,
        inputs: Sequence[Tensor],
        references: Sequence[Tensor],
        memory: int = 1 << 30,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.genes = graph.genes
        # A gradient keeps every output, and what it was masked to.
        each = 2 * working_bytes(graph, start, stop, len(inputs[0]))[1]
        workers = workers_for(graph.network.example.device, each, memory)
        self._networks = [MaskedNetwork(graph, start, stop) for _ in range(workers)]
        self._dtype = dtype
        self._pairs = [(x.to(dtype), reference.float()) for x, reference in zip(inputs, references, strict=True)]
        # The same signs for all masks, so that their estimates differ by the masks alone; drawn where every device draws alike.
        generator = torch.Generator().manual_seed(0)
        self._signs = [_signs(reference, generator) for _, reference in self._pairs]
        self._total = max(sum(float(reference.square().sum()) for _, reference in self._pairs), 1e-12)

    def effects(self, keep_vectors: KeepVectors) -> list[GeneEffects]:
        """For each keep vector, bool[n, genes], its error and the predicted effect of each gene."""
        return map_parallel(self._one, list(keep_vectors), self._networks)

    @torch.enable_grad()
    def _one(self, network: MaskedNetwork, keep: KeepVectors) -> GeneEffects:
        device = self._pairs[0][1].device
        error = torch.zeros((), dtype=torch.float64, device=device)
        slope, curvature = torch.zeros(2, len(keep), dtype=torch.float64, device=device)
        kept = to_device(keep, device).float()
        for (inputs, reference), signs in zip(self._pairs, self._signs, strict=True):
            gates = kept.expand(len(inputs), -1).clone().requires_grad_()
            with autocast(inputs.device, self._dtype):
                output = network(inputs, gates.to(self._dtype)).float()
            squares = (output - reference).square().sum()
            (gradient,) = torch.autograd.grad(squares, gates, retain_graph=True)
            (probe,) = torch.autograd.grad((output * signs).sum(), gates)
            error += squares.detach()
            slope += gradient.double().sum(0)
            curvature += probe.double().square().sum(0)
        # One transfer a mask: a device is never waited for between batches.
        found = (torch.cat([error[None], curvature - slope, slope]) / self._total).cpu().numpy()
        removal, restoring = found[1:].reshape(2, -1)
        return GeneEffects(float(found[0]), removal, restoring)


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """A random sign for each number, a byte each."""
    return (torch.randint(0, 2, like.shape, generator=generator) * 2 - 1).to(torch.int8).to(like.device)
