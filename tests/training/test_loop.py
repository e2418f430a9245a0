import weakref
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from emodir_tui.training import loop
from emodir_tui.training.data import Split, TensorImages
from emodir_tui.training.loop import TrainingPlan, TrainingState, learning_rate, train
from emodir_tui.training.losses import cross_entropy, distillation, kl, relative_error
from emodir_tui.training.memory import in_chunks
from emodir_tui.training.metrics import accuracy, recalibrate


class StopHere(Exception):
    pass


def blobs(count=120):
    """Two classes that differ in brightness."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 2, (count,), generator=generator)
    pixels = torch.randint(0, 90, (count, 1, 4, 4), generator=generator) + labels.view(-1, 1, 1, 1) * 120
    images = TensorImages(pixels=pixels.to(torch.uint8), labels=labels)
    return Split(
        images=images, mean=torch.full((1, 1, 1, 1), 0.4), std=torch.full((1, 1, 1, 1), 0.3), device=torch.device("cpu")
    )


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))


def loss(model, inputs, labels, step):
    return cross_entropy(model(inputs), labels)


PLAN = TrainingPlan(steps=24, batch=20, learning_rate=0.1, weight_decay=1e-3, augmentation="crop-flip", seed=5)


def train_with_stop(at):
    """Train, stop after step `at`, and go on from the saved state with a fresh model."""
    saved = []

    def stop(moment):
        if moment.step == at:
            saved.append(moment.state())
            raise StopHere

    with pytest.raises(StopHere):
        train(small_model(), blobs(), loss, PLAN, on_step=stop)
    torch.manual_seed(99)
    model = small_model()
    train(model, blobs(), loss, PLAN, start=saved[0], on_step=lambda _: None)
    return model.state_dict()


@pytest.mark.parametrize("at", [1, 5, 6, 7, 23])
def test_a_training_stopped_after_any_step_and_resumed_ends_with_the_same_bits(at):
    model = small_model()
    train(model, blobs(), loss, PLAN, on_step=lambda _: None)
    for name, value in train_with_stop(at).items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_training_learns():
    model = small_model()
    train(model, blobs(), loss, PLAN, on_step=lambda _: None)
    assert accuracy(model, blobs(), 50) > 0.95


def test_the_learning_rate_rises_then_falls_to_nothing():
    rates = [learning_rate(step, PLAN) for step in range(PLAN.steps)]
    assert max(rates) == pytest.approx(0.1)
    assert rates[0] < 0.01
    assert rates[-1] < 0.01


def test_a_loss_that_is_not_finite_goes_back_with_half_the_rate():
    broken = []

    def sometimes_nan(model, inputs, labels, step):
        value = cross_entropy(model(inputs), labels)
        if step == 8 and not broken:
            broken.append(step)
            return value * float("nan")
        return value

    seen = []
    state = train(small_model(), blobs(), sometimes_nan, PLAN, on_step=seen.append)
    assert state.rate_factor == 0.5
    assert [moment.step for moment in seen if moment.trouble] == [6]
    assert all(torch.isfinite(value).all() for value in state.weights.values())


def test_a_loss_that_never_recovers_is_an_error_and_not_a_loop():
    with pytest.raises(FloatingPointError, match="not finite"):
        train(small_model(), blobs(), lambda m, x, y, s: m(x).sum() * float("nan"), PLAN, on_step=lambda _: None)


class Narrow(nn.Module):
    """A model on a device that holds only a few images."""

    def __init__(self, limit):
        super().__init__()
        self.inner, self.limit = small_model(), limit

    def forward(self, x):
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("out of memory")
        return self.inner(x)


def test_an_error_that_is_not_of_memory_is_not_tried_again():
    seen = []

    def broken(model, inputs, labels, step):
        seen.append(step)
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        train(small_model(), blobs(), broken, PLAN, on_step=lambda _: None)
    assert seen == [0]


def test_out_of_memory_halves_the_batch_says_so_once_and_goes_on():
    seen = []
    state = train(Narrow(7), blobs(), loss, PLAN, on_step=seen.append)
    assert state.pieces == 4
    assert [moment.trouble for moment in seen if moment.trouble] == ["out of memory: continuing with batches of 5"]


class Held:
    """What a failed pass holds."""


class Exploding(torch.autograd.Function):
    """Runs out of memory in its backward pass, while its node holds something."""

    held: weakref.ref[Held] | None = None

    @staticmethod
    def forward(ctx, x):
        ctx.held = Held()
        Exploding.held = weakref.ref(ctx.held)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        if len(gradient) > 7:
            raise torch.OutOfMemoryError("out of memory")
        return gradient


def test_memory_is_freed_only_when_the_failed_pass_holds_nothing_more(monkeypatch):
    alive = []
    monkeypatch.setattr(loop, "release_cached_memory", lambda: alive.append(Exploding.held()))

    def exploding(model, inputs, labels, step):
        return cross_entropy(Exploding.apply(model(inputs)), labels)

    state = train(small_model(), blobs(), exploding, replace(PLAN, steps=2), on_step=lambda _: None)
    assert state.pieces == 4
    assert alive == [None, None]


def test_dropout_after_a_resume_is_that_of_the_uninterrupted_training():
    def model():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 2))

    saved = []

    def save(moment):
        if moment.step == 5:
            saved.append(moment.state())

    whole = train(model(), blobs(), loss, PLAN, on_step=save)
    resumed = model()
    torch.manual_seed(99)
    again = train(resumed, blobs(), loss, PLAN, start=saved[0], on_step=lambda _: None)
    assert all(torch.equal(value, again.weights[name]) for name, value in whole.weights.items())


def test_momenta_from_a_file_lie_in_memory_as_their_weights_do():
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).to(memory_format=torch.channels_last)
    optimiser = loop._optimiser(model, PLAN)
    momenta = {"0.weight": torch.ones(4, 3, 3, 3), "0.bias": torch.ones(4)}
    loop._restore(model, optimiser, TrainingState(step=1, weights=dict(model.state_dict()), momenta=momenta))
    restored = optimiser.state[model[0].weight]["momentum_buffer"]
    assert restored.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(restored, momenta["0.weight"])


def test_out_of_memory_with_a_single_image_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        train(Narrow(0), blobs(), loss, PLAN, on_step=lambda _: None)


def test_pieces_give_what_the_whole_batch_gives():
    model = Narrow(3).eval()
    x = torch.randn(10, 1, 4, 4)
    torch.testing.assert_close(in_chunks(model, x), model.inner(x))


def test_crops_are_as_exact_where_layers_are_not():
    pixels = torch.randint(0, 256, (4, 1, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images = TensorImages(pixels=pixels, labels=torch.zeros(4, dtype=torch.int64))
    split = replace(blobs(), images=images)
    seen = {}

    def keep_vectors(model, inputs, labels, step, *, mixed):
        seen[mixed] = inputs
        return (model(inputs) * 0).sum()

    for mixed in (False, True):
        plan = TrainingPlan(
            steps=1, batch=4, learning_rate=0.1, augmentation="resized-crop-flip", mixed_precision=mixed
        )
        train(nn.Conv2d(1, 1, 1), split, partial(keep_vectors, mixed=mixed), plan, on_step=lambda _: None)
    assert torch.equal(seen[True], seen[False])


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, partial(nn.InstanceNorm2d, track_running_stats=True)])
def test_recalibration_gives_the_mean_statistics_of_the_batches(kind):
    norm = kind(3)
    batches = [torch.randn(8, 3, 4, 4) + index for index in range(4)]
    recalibrate(norm, batches)
    expected = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, expected)
    assert norm.momentum == 0.1
    assert not norm.training


def test_losses_by_hand():
    reference = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert float(relative_error(reference, reference)) == 0
    assert float(relative_error(torch.zeros(2, 2), reference)) == pytest.approx(1.0)
    assert float(relative_error(reference * 1.5, reference)) == pytest.approx(0.25)
    assert float(kl(reference, reference)) == pytest.approx(0.0, abs=1e-7)
    by_hand = sum(p * (p / 0.5).log() for p in torch.softmax(reference[0], 0)) / 1
    assert float(kl(torch.zeros(1, 2), reference[:1])) == pytest.approx(float(by_hand))
    labels = torch.tensor([0, 1])
    assert float(distillation(reference, reference, labels, 0.0, 4.0)) == pytest.approx(
        float(cross_entropy(reference, labels))
    )
    assert float(distillation(reference, reference, labels, 1.0, 4.0)) == pytest.approx(0.0, abs=1e-6)


def test_weights_of_layers_decay_whatever_their_shape_and_biases_of_several_dimensions_do_not():
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 1))
    model.shift = nn.Parameter(torch.ones(1, 4, 1, 1))
    decayed, others = loop._optimiser(model, PLAN).param_groups
    assert [id(weight) for weight in decayed["params"]] == [id(model[0].weight), id(model[3].weight)]
    assert id(model.shift) in {id(weight) for weight in others["params"]}
    assert decayed["weight_decay"] == PLAN.weight_decay
    assert others["weight_decay"] == 0


def test_a_gradient_that_is_not_finite_is_noticed_as_a_loss_is():
    broken = []

    def loss_of(model, inputs, labels, step):
        value = cross_entropy(model(inputs), labels)
        if step == PLAN.steps - 1 and not broken:
            broken.append(step)
            value.register_hook(lambda gradient: gradient * float("inf"))
        return value

    seen = []
    state = train(small_model(), blobs(), loss_of, PLAN, on_step=seen.append)
    assert [moment.step for moment in seen if moment.trouble] == [18]
    assert all(torch.isfinite(value).all() for value in state.weights.values())


def test_measuring_an_accuracy_is_checked_before_each_batch():
    checked = []
    accuracy(small_model(), blobs(), 50, lambda: checked.append(True))
    assert len(checked) == 3
