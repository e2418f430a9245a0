"""The loop of all trainings. Its state is a value: stopping after any step and resuming changes nothing.

Data order, augmentation and learning rate are functions of the step, so only weights and momenta are saved. There is
one exception: after a loss that is not finite, training returns to the end of the last epoch. If it was resumed within
the current epoch, it returns to the step at which it resumed, because the end of the epoch is not saved with each step.
"""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from emodir_tui.seeds import derive_seed
from emodir_tui.training.data import FileImages, Split
from emodir_tui.training.memory import is_out_of_memory, release_cached_memory

WARMUP_SHARE = 0.15
START_SHARE = 0.04
LARGEST_NORM = 5.0
ROLLBACKS = 3
LAYERS = (nn.modules.conv._ConvNd, nn.Linear)

Loss = Callable[[nn.Module, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """Hyperparameters of a training: `steps` optimiser steps of `batch` images each."""

    steps: int
    batch: int
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    augmentation: str = "none"
    seed: int = 0
    mixed_precision: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingState:
    """Everything needed to continue a training: completed steps, weights (state_dict), momenta and recovery state.

    `rate_factor` shrinks after a loss that was not finite; `pieces`, the parts into which a batch is split, grows after
    the device's memory ran out.
    """

    step: int
    weights: dict[str, Tensor]
    momenta: dict[str, Tensor]
    rate_factor: float = 1.0
    rollbacks: int = 0
    pieces: int = 1
    loss: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """The argument of `on_step`: completed steps, loss, learning rate, a function that returns the state, and a warning."""

    step: int
    loss: float
    learning_rate: float
    state: Callable[[], TrainingState]
    trouble: str = ""


def learning_rate(step: int, plan: TrainingPlan) -> float:
    """Learning rate of a step: linear warm-up, then a cosine to zero (Smith & Topin 2019; cosine of He et al. 2019)."""
    warmup = max(1, round(plan.steps * WARMUP_SHARE))
    if step < warmup:
        return plan.learning_rate * (START_SHARE + (1 - START_SHARE) * step / warmup)
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, plan.steps - warmup)))


def train(
    model: nn.Module,
    split: Split,
    loss: Loss,
    plan: TrainingPlan,
    *,
    start: TrainingState | None = None,
    on_step: Callable[[StepReport], None],
) -> TrainingState:
    """Train a model in place and return the last state; `on_step` is called after each step and may raise to stop.

    Args:
        model: On the split's device; left in training mode.
        split: Training images.
        loss: Maps (model, inputs, labels, step) to a scalar, at least approximately a mean over the images: a batch is
            split only if memory runs out.
        plan: The hyperparameters.
        start: The state to continue from.
        on_step: Called with the report of each step.

    Raises:
        FloatingPointError: The loss was still not finite after several rollbacks with smaller learning rates.
    """
    optimiser = _optimiser(model, plan)
    state = start or TrainingState(step=0, weights=_copy(model), momenta={})
    _restore(model, optimiser, state)
    step, factor, rollbacks, pieces = state.step, state.rate_factor, state.rollbacks, state.pieces
    per_epoch = max(1, len(split) // plan.batch)
    good = state
    last = state.loss
    batches = _Batches(split, plan, per_epoch)

    def snapshot() -> TrainingState:
        return TrainingState(
            step=step,
            weights=_copy(model),
            momenta=_momenta(model, optimiser),
            rate_factor=factor,
            rollbacks=rollbacks,
            pieces=pieces,
            loss=last,
        )

    if start is not None:
        # The report of this step may have been lost with the process that computed it.
        on_step(StepReport(step=step, loss=last, learning_rate=learning_rate(step, plan) * factor, state=snapshot))
    while step < plan.steps:
        model.train()
        rate = learning_rate(step, plan) * factor
        for group in optimiser.param_groups:
            group["lr"] = rate
        # Dropout draws from the device's global generator.
        torch.manual_seed(derive_seed(plan.seed, "dropout", step))
        # Images are cropped in full precision.
        batch = batches.take(step)
        with precision(split.device, mixed=plan.mixed_precision):
            value, pieces, trouble = _backward(model, loss, (*batch, step), optimiser, pieces)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_NORM)
        if not (math.isfinite(value) and math.isfinite(norm)):
            rollbacks, factor = rollbacks + 1, factor / 2
            if rollbacks > ROLLBACKS:
                raise FloatingPointError(f"the loss is not finite at step {step}, even at learning rate {rate:.2g}")
            trouble = f"the loss was not finite at step {step}; back to step {good.step}, half the learning rate"
            _restore(model, optimiser, good)
            step, last = good.step, good.loss
        else:
            optimiser.step()
            step, last = step + 1, value
        if step % per_epoch == 0 and not trouble:
            good = snapshot()
        on_step(StepReport(step=step, loss=last, learning_rate=rate, state=snapshot, trouble=trouble))
    return snapshot() if step > state.step else state


def precision(device: torch.device, *, mixed: bool) -> torch.autocast:
    """torch.autocast in bfloat16, which needs no loss scaling; disabled unless `mixed`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed)


class _Batches:
    """Training batches by step. Images in files are read one step ahead, while the device computes."""

    def __init__(self, split: Split, plan: TrainingPlan, per_epoch: int) -> None:
        self._make = partial(_batch, split, plan, per_epoch)
        self._steps = plan.steps
        self._reader = ThreadPoolExecutor(1) if isinstance(split.images, FileImages) else None
        self._ahead: tuple[int, Future[tuple[Tensor, Tensor]]] | None = None

    def take(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step, a function of the step alone."""
        if self._reader is None:
            return self._make(step)
        ready = self._ahead[1] if self._ahead and self._ahead[0] == step else self._reader.submit(self._make, step)
        batch = ready.result()
        self._ahead = (step + 1, self._reader.submit(self._make, step + 1)) if step + 1 < self._steps else None
        return batch


def _batch(split: Split, plan: TrainingPlan, per_epoch: int, step: int) -> tuple[Tensor, Tensor]:
    epoch, position = divmod(step, per_epoch)
    positions = _order(len(split), derive_seed(plan.seed, "order", epoch))[
        position * plan.batch : (position + 1) * plan.batch
    ]
    draws = torch.Generator().manual_seed(derive_seed(plan.seed, "draws", step))
    return split.shuffled_batch(positions, draws, plan.augmentation)


@lru_cache(maxsize=1)
def _order(images: int, seed: int) -> Tensor:
    """The order of an epoch, int64[images]; cached, because a million images take as long as a training step."""
    return torch.randperm(images, generator=torch.Generator().manual_seed(seed))


def _backward(
    model: nn.Module, loss: Loss, batch: tuple[Tensor, Tensor, int], optimiser: torch.optim.SGD, pieces: int
) -> tuple[float, int, str]:
    """Compute the gradients of the mean loss, in as many pieces as the device's memory requires."""
    inputs, labels, step = batch
    trouble = ""
    while True:
        optimiser.zero_grad(set_to_none=True)
        value: Tensor | None = None
        try:
            total = 0.0
            for part, part_labels in zip(inputs.chunk(pieces), labels.chunk(pieces), strict=True):
                value = loss(model, part, part_labels, step) * (len(part) / len(inputs))
                value.backward()  # type: ignore[no-untyped-call]
                total += value.detach().item()
        except RuntimeError as error:
            if not is_out_of_memory(error) or pieces >= len(inputs):
                raise
        else:
            return total, pieces, trouble
        # The error holds tensors of the failed pass; only after its block can their memory be freed.
        value = None
        pieces *= 2
        trouble = f"out of memory: continuing with batches of {math.ceil(len(inputs) / pieces)}"
        release_cached_memory()


def _optimiser(model: nn.Module, plan: TrainingPlan) -> torch.optim.SGD:
    """SGD with Nesterov momentum; no weight decay on biases and normalisations."""
    layers = {id(module.weight) for module in model.modules() if isinstance(module, LAYERS)}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    # A bias or scale may be shaped (1, c, 1, 1), and so may the weight of a heavily pruned layer.
    is_decayed = [id(weight) in layers or weight.squeeze().dim() > 1 for weight in trained]
    decayed = [weight for weight, decays in zip(trained, is_decayed, strict=True) if decays]
    others = [weight for weight, decays in zip(trained, is_decayed, strict=True) if not decays]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
    nesterov = plan.momentum > 0
    return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=plan.momentum, nesterov=nesterov)


def _momenta(model: nn.Module, optimiser: torch.optim.SGD) -> dict[str, Tensor]:
    buffers = {name: optimiser.state[weight].get("momentum_buffer") for name, weight in model.named_parameters()}
    return {name: buffer.clone() for name, buffer in buffers.items() if buffer is not None}


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _restore(model: nn.Module, optimiser: torch.optim.SGD, state: TrainingState) -> None:
    with torch.no_grad():
        # In place, because some models refuse a state_dict of plain tensors.
        for name, value in model.state_dict().items():
            value.copy_(state.weights[name])
    for name, weight in model.named_parameters():
        optimiser.state[weight].pop("momentum_buffer", None)
        if name in state.momenta:
            # In the weight's memory format, which files do not preserve.
            optimiser.state[weight]["momentum_buffer"] = torch.empty_like(weight).copy_(state.momenta[name])
