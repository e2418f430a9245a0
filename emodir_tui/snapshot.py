"""Results of the stages as bytes and back: safetensors for arrays and tensors, JSON for the rest, no pickle.

The reader names the type to build, so a file cannot choose what is built from it.
"""

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
import safetensors
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from emodir_tui.errors import DamagedFileError

TREE = "tree"


def pack(value: Any) -> bytes:
    """Serialise dataclasses, lists, tuples, dicts with string keys, NumPy arrays, tensors and JSON's plain values.

    Equal values give equal bytes. Floats keep every bit.

    Raises:
        TypeError: The value holds an object of another type.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = _encode(value, "value", tensors)
    return save_safetensors(tensors, metadata={TREE: json.dumps(tree)})


def unpack(payload: bytes, kind: Any) -> Any:
    """Read a value of type `kind` from the bytes; tensors are on the CPU.

    Raises:
        DamagedFileError: The bytes hold no such value.
    """
    try:
        tensors = load_safetensors(payload)
        tree = json.loads(_metadata(payload)[TREE])
        return _decode(tree, kind, tensors)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise DamagedFileError(f"not a snapshot of this version ({type(error).__name__}: {error})") from error


def _metadata(payload: bytes) -> dict[str, str]:
    length = int.from_bytes(payload[:8], "little")
    header = json.loads(payload[8 : 8 + length])
    metadata = header["__metadata__"]
    if not isinstance(metadata, dict):
        raise TypeError("metadata")
    return metadata


def _encode(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"tensor": path}
    if isinstance(value, np.ndarray):
        # A copy, because safetensors refuses an array that occurs in two places.
        tensors[path] = torch.from_numpy(np.array(value, order="C"))
        return {"array": path}
    if is_dataclass(value):
        return {
            field.name: _encode(getattr(value, field.name), f"{path}.{field.name}", tensors) for field in fields(value)
        }
    if isinstance(value, dict):
        return {key: _encode(item, f"{path}.{key}", tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]
    raise TypeError(f"{path}: a {type(value).__name__} cannot be saved")


def _decode(tree: Any, kind: Any, tensors: dict[str, torch.Tensor]) -> Any:
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        return _decode_union(tree, arguments, tensors)
    if is_dataclass(origin):
        hints = get_type_hints(origin)
        build: Callable[..., Any] = origin  # type: ignore[assignment]
        return build(**{field.name: _decode(tree[field.name], hints[field.name], tensors) for field in fields(origin)})
    if origin is torch.Tensor:
        return tensors[tree["tensor"]]
    if origin is np.ndarray:
        return tensors[tree["array"]].numpy()
    if origin is dict:
        return {key: _decode(item, arguments[1], tensors) for key, item in _checked_type(tree, dict).items()}
    if origin is list:
        return [_decode(item, arguments[0], tensors) for item in _checked_type(tree, list)]
    if origin is tuple:
        items = _checked_type(tree, list)
        kinds = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else arguments
        return tuple(_decode(item, inner, tensors) for item, inner in zip(items, kinds, strict=True))
    if origin is float:
        return float(tree)
    if origin in (int, str, bool):
        return _checked_type(tree, origin)
    if origin is Any:
        return tree
    raise TypeError(f"{kind} cannot be saved")


def _decode_union(tree: Any, kinds: tuple[Any, ...], tensors: dict[str, torch.Tensor]) -> Any:
    if tree is None and NoneType in kinds:
        return None
    (kind,) = (kind for kind in kinds if kind is not NoneType)
    return _decode(tree, kind, tensors)


def _checked_type(tree: Any, kind: type) -> Any:
    if type(tree) is not kind:
        raise TypeError(f"expected {kind.__name__}, found {type(tree).__name__}")
    return tree
