from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emodir_tui.errors import DamagedFileError
from emodir_tui.snapshot import pack, unpack


@dataclass(frozen=True)
class Inner:
    name: str
    mask: np.ndarray


@dataclass(frozen=True)
class Outer:
    weights: dict[str, torch.Tensor]
    inner: list[Inner]
    pair: tuple[float, float]
    numbers: tuple[float, ...]
    step: int
    note: str | None


def example():
    return Outer(
        weights={"a.b": torch.randn(3, 2), "empty": torch.zeros(0, 4), "count": torch.tensor(3)},
        inner=[Inner("x", np.array([[True, False]])), Inner("y", np.array([0.1, float("nan")]))],
        pair=(0.1, 1e-300),
        numbers=(1.0, 2.0, 3.0),
        step=7,
        note=None,
    )


def test_a_value_comes_back_bit_for_bit():
    value = example()
    again = unpack(pack(value), Outer)
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in value.weights.items())
    assert again.inner[0].mask.dtype == np.bool_
    np.testing.assert_array_equal(again.inner[1].mask, value.inner[1].mask)
    assert (again.pair, again.numbers, again.step, again.note) == (value.pair, value.numbers, value.step, None)
    assert pack(again) == pack(value)


def test_one_array_in_two_places_comes_back_in_both():
    mask = np.array([True, False])
    again = unpack(pack([Inner("x", mask), Inner("y", mask)]), list[Inner])
    assert [inner.mask.tolist() for inner in again] == [[True, False]] * 2


@settings(max_examples=200)
@given(noise=st.binary(min_size=1, max_size=20), place=st.integers(0, 10_000))
def test_damaged_bytes_give_a_sentence_and_never_anything_else(noise, place):
    torch.manual_seed(0)
    data = bytearray(pack(example()))
    place %= len(data)
    data[place : place + len(noise)] = noise
    try:
        unpack(bytes(data), Outer)
    except DamagedFileError:
        pass


def test_another_types_snapshot_is_refused():
    with pytest.raises(DamagedFileError):
        unpack(pack(Inner("x", np.zeros(2))), Outer)


def test_pickles_are_refused():
    import pickle

    with pytest.raises(DamagedFileError):
        unpack(pickle.dumps({"a": 1}), Outer)
