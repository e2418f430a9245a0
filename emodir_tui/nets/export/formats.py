"""Export of a pruned network for other programs: plain weights, torch.export, ONNX, each checked after export."""

import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from emodir_tui.errors import EmodirError, ProfileError, first_line
from emodir_tui.nets.sources.models import load_tensors

LARGEST_DIFFERENCE = 1e-4
CHECK_IMAGES = 3
FORMATS = ("state", "torch-export", "onnx")
SUFFIXES = {"state": ".safetensors", "torch-export": ".pt2", "onnx": ".onnx"}


def export_network(model: nn.Module, input_shape: tuple[int, ...], kind: str) -> tuple[bytes, float]:
    """The bytes of the file, and the largest difference of its output, relative to the output's largest value.

    Args:
        model: On the CPU, in evaluation mode.
        input_shape: (channels, height, width); the batch is free in `torch-export` and `onnx`.
        kind: One of `FORMATS`.

    Raises:
        ProfileError: A package for the format is not installed.
        EmodirError: The network cannot be exported in this format, or the result computes something else.
    """
    makers: dict[str, Callable[[nn.Module, Tensor], tuple[bytes, Callable[[Tensor], Tensor]]]] = {
        "state": _state,
        "torch-export": _torch_export,
        "onnx": _onnx,
    }
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(2, *input_shape, generator=generator)
    # Another batch size than the traced one shows that the batch size is free.
    probe = torch.randn(CHECK_IMAGES, *input_shape, generator=generator)
    try:
        payload, run = makers[kind](model, example)
        with torch.no_grad():
            expected = model(probe)
            difference = float((run(probe) - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    except (EmodirError, ImportError):
        raise
    except Exception as error:
        reason = first_line(error)
        raise EmodirError(f"this network cannot be exported as {kind} ({reason})", "Try another --format.") from error
    if not difference <= LARGEST_DIFFERENCE:
        raise EmodirError(f"the {kind} file differs from the network by {difference:.2g}; it was not written")
    return payload, difference


def _state(model: nn.Module, example: Tensor) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    from safetensors.torch import load

    del example
    payload = save_safetensors({name: value.contiguous().clone() for name, value in model.state_dict().items()})
    load_tensors(model, load(payload))
    return payload, model


def _torch_export(model: nn.Module, example: Tensor) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    # PyTorch before 2.8 is strict by default, and then cannot follow modules that look up their layers by name.
    program = torch.export.export(model, (example,), dynamic_shapes=_dynamic(), strict=False)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    again = torch.export.load(buffer).module()
    return buffer.getvalue(), again


def _onnx(model: nn.Module, example: Tensor) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    try:
        import onnxruntime
    except ImportError as error:
        raise ProfileError("onnxruntime is not installed", "pip install 'emodir[onnx]'") from error
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # The exporter warns about its own internals.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=_dynamic(),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise EmodirError("torch.onnx.export returned no program")
    payload: bytes = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(payload, providers=["CPUExecutionProvider"])
    return payload, lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


def _dynamic() -> tuple[dict[int, object]]:
    return ({0: torch.export.Dim("batch", min=1, max=65536)},)


def default_file(pruned: Path, kind: str) -> Path:
    """The default path of an export: next to the pruned file, with a name that shows the format."""
    return pruned.with_name(f"{pruned.stem}-state.safetensors" if kind == "state" else pruned.stem + SUFFIXES[kind])
