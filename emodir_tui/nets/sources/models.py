"""Model sources: the zoo, torchvision, timm or the user's code, with weights from a file."""

import inspect
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from emodir_tui.errors import ProfileError, first_line, nearest
from emodir_tui.foreign_files import check_archive, foreign_file, open_foreign
from emodir_tui.nets.sources import zoo
from emodir_tui.user_code import load_callable

PREFIXES = ("module.", "model.", "_orig_mod.")
WRAPPERS = ("state_dict", "model", "model_state_dict", "net")
# The largest published CNNs have about 10 GB of weights.
WEIGHTS_BYTES = 16 << 30
# Of the part of a file that names and shapes its tensors.
PICKLE_BYTES = 8 << 20
# The first bytes of a file that torch.save wrote in its old format.
OLD_FORMAT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
CLASSES_ARGUMENTS = ("num_classes", "classes", "n_classes", "nb_classes")


def load_model(source: str, weights: str, classes: int) -> nn.Module:
    """Build a model, with weights from a file if one is given.

    Args:
        source: A name of the zoo, `torchvision:NAME`, `timm:NAME`, or `module.path:factory`.
        weights: A .safetensors file, or one that torch reads as weights only; empty for none.
        classes: The number of outputs.

    Raises:
        ProfileError: The model is unknown, or the weights do not fit it.
    """
    model = _builder(source)(classes)
    if weights:
        _load_weights(model, read_weights(Path(weights).expanduser()), weights, source)
    return model


def require_source(source: str, weights: str) -> None:
    """Check, without building anything, that there are such a model and such a file; empty for no file.

    Raises:
        ProfileError: One of them is missing.
    """
    _builder(source)
    # Path.is_file raises if a name is too long for a file.
    if weights and not os.path.exists(path := Path(weights).expanduser()):  # noqa: PTH110
        raise ProfileError(f"model.weights: there is no file {path}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file, by name; no code in the file is executed.

    Raises:
        ProfileError: The file cannot be read, or holds anything but weights.
    """
    place, hint = f"model.weights: {path}", "Save model.state_dict() with torch.save or safetensors, and use that file."
    with foreign_file(place, "plain weights", hint):
        try:
            file = open_foreign(path, WEIGHTS_BYTES)
        except FileNotFoundError as error:
            raise ProfileError(f"model.weights: there is no file {path}") from error
        with file:
            content = load_file(path) if path.suffix == ".safetensors" else _load_pickled(file, place)
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if (
        not isinstance(content, Mapping)
        or not all(isinstance(value, Tensor) for value in content.values())
        or not content
    ):
        raise ProfileError(f"model.weights: {path} is not a state_dict", "Save model.state_dict(), and use that file.")
    weights = {str(name): value for name, value in content.items()}
    for name, value in weights.items():
        if reason := _not_plain(value):
            raise ProfileError(f"{place}: '{name}' is {reason}", "Save a network of plain floating-point tensors.")
    return weights


def _load_pickled(file: BinaryIO, place: str) -> Any:
    """The content of a file that torch.save wrote; pickled objects other than tensors and plain containers are refused."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            check_archive(archive, place, WEIGHTS_BYTES)
            for entry in archive.infolist():
                if entry.filename.endswith(".pkl") and entry.file_size > PICKLE_BYTES:
                    raise ProfileError(f"{place} has more than {PICKLE_BYTES >> 20} MB besides its tensors")
    else:
        file.seek(0)
        if file.read(len(OLD_FORMAT)) != OLD_FORMAT:
            raise ProfileError(f"{place} is neither a safetensors file nor one of torch.save")
    file.seek(0)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own words recommend to load it unsafely.
        raise ProfileError(
            f"{place} holds more than tensors, or is damaged; only plain weights can be read safely",
            "Save model.state_dict() with torch.save or safetensors, and use that file.",
        ) from error


def _not_plain(value: Tensor) -> str:
    """Why a tensor has no plain numbers; empty if it has."""
    if value.is_quantized:
        return "quantized"
    if value.layout != torch.strided:
        return f"sparse ({value.layout})"
    if value.device.type != "cpu":
        return f"on the device {value.device}, so it has no values here"
    return ""


def _builder(source: str) -> Callable[[int], nn.Module]:
    """Makes the model for a number of classes."""
    kind, colon, name = source.partition(":")
    if not colon:
        if source not in zoo.NAMES:
            hint = (
                nearest(source, zoo.NAMES)
                or f"The zoo has {', '.join(zoo.NAMES)}; others: torchvision:NAME, timm:NAME."
            )
            raise ProfileError(f"model.source: '{source}' is not in the zoo", hint)
        return partial(zoo.build, source)
    if kind == "torchvision":
        return _torchvision(name)
    if kind == "timm":
        return _timm(name)
    return partial(_made_by, load_callable("model.source", source), source)


def _torchvision(name: str) -> Callable[[int], nn.Module]:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ProfileError(f"model.source: torchvision has no classification model '{name}'", nearest(name, known))
    options = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return lambda classes: models.get_model(name, weights=None, num_classes=classes, **options)


def _timm(name: str) -> Callable[[int], nn.Module]:
    try:
        import timm
    except ImportError as error:
        raise ProfileError("model.source: timm is not installed", "pip install 'emodir[timm]'") from error
    if not timm.is_model(name):
        raise ProfileError(f"model.source: timm has no model '{name}'", nearest(name, timm.list_models()))
    return lambda classes: timm.create_model(name, pretrained=False, num_classes=classes)


def _made_by(factory: Callable[..., Any], source: str, classes: int) -> nn.Module:
    argument = _classes_argument(factory)
    called = f"{source}({'' if argument is None else f'{argument}={classes}' if argument else classes})"
    try:
        model = factory() if argument is None else factory(**{argument: classes}) if argument else factory(classes)
    except Exception as error:
        raise ProfileError(f"model.source: {called} fails: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise ProfileError(f"model.source: {called} gives a {type(model).__name__}, not a torch module")
    return model


def _classes_argument(factory: Callable[..., Any]) -> str | None:
    """The keyword of the number of classes; empty if it is the first argument, None without arguments.

    A factory's first argument is often something else, such as the depth or the image channels.
    """
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return ""
    named = {name for name, it in parameters.items() if it.kind in (it.POSITIONAL_OR_KEYWORD, it.KEYWORD_ONLY)}
    if known := [name for name in CLASSES_ARGUMENTS if name in named]:
        return known[0]
    return "" if parameters else None


def _load_weights(model: nn.Module, weights: dict[str, Tensor], path: str, source: str) -> None:
    expected = model.state_dict()
    weights = _without_prefix(weights, expected)
    # Old checkpoints have no batch counter, which evaluation does not use.
    missing = [name for name in expected if name not in weights and not name.endswith("num_batches_tracked")]
    extra = [name for name in weights if name not in expected]
    if missing or extra:
        word, name = ("lacks", missing[0]) if missing else ("has an unknown", extra[0])
        others = f" and {len(missing or extra) - 1} more" if len(missing or extra) > 1 else ""
        hint = nearest(name, extra if missing else expected)
        raise ProfileError(f"model.weights: {path} {word} '{name}'{others}, so it does not fit {source}", hint)
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            shapes = f"{tuple(value.shape)} instead of {tuple(expected[name].shape)}"
            raise ProfileError(
                f"model.weights: in {path} '{name}' is {shapes}", "Are model.source and model.classes right?"
            )
    with foreign_file(f"model.weights: {path}", f"weights of {source}"):
        load_tensors(model, weights, strict=False)


def load_tensors(model: nn.Module, weights: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """load_state_dict for plain tensors, with the format versions that the model's own layers expect.

    Raises:
        ProfileError: A tensor is of another kind: torch would drop imaginary parts, and cut to or from integers.
    """
    state, expected = OrderedDict(weights), model.state_dict()
    for name, value in state.items():
        if name in expected and _kind(value) != _kind(expected[name]):
            kinds = f"{_type_name(value)}, and the network's has {_type_name(expected[name])}"
            raise ProfileError(f"'{name}' has values of type {kinds}", "Convert it before it is saved.")
    state._metadata = expected._metadata  # type: ignore[attr-defined]
    model.load_state_dict(state, strict=strict)


def _kind(value: Tensor) -> str:
    return "complex" if value.is_complex() else "float" if value.is_floating_point() else _type_name(value)[:3]


def _type_name(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _without_prefix(weights: dict[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in weights) and not any(
                name.startswith(prefix) for name in expected
            ):
                weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights
