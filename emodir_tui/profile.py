"""The profile: the settings of a run. TOML on disk, validated here once and trusted everywhere else.

Each key has a default and a description with its unit. `docs/profile.md` is generated from them.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from emodir_tui.errors import ProfileError, nearest

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
# A profile with every key takes a few kilobytes.
FILE_BYTES = 1 << 20
# Beyond these, labels are no classes and images no inputs of a network: a file is damaged, or made to fill the memory.
MOST_CLASSES = 100_000
LARGEST_SIDE = 4096


class Section(BaseModel):
    """A section of the profile. It refuses unknown keys, and strings where numbers belong."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Model(Section):
    """The network to prune."""

    source: str = Field(
        default="digits-resnet",
        description="A network of the zoo (digits-resnet, vgg16, resnet20 … resnet110), 'torchvision:NAME', 'timm:NAME', or 'module.path:factory' from your own code. The factory is called with the number of classes, as num_classes if it has that argument.",
    )
    weights: str = Field(
        default="",
        description="File with trained weights: .safetensors, or .pt, which is loaded as weights only. Empty: a baseline is trained.",
    )
    classes: int = Field(default=0, ge=0, le=MOST_CLASSES, description="Number of classes; 0 takes it from the data.")
    accuracy: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Accuracy on the test images that model.weights is known to have, 0 to 1; 0 expects nothing. Where the measured one differs by more than three of its standard errors and half a point, a run stops before the search and 'emodir check' fails: then data.mean, data.std or the order of the classes are usually not those of the training.",
    )


class Data(Section):
    """Images and their splits."""

    source: str = Field(
        default="digits",
        description="'digits' (shipped with scikit-learn), 'cifar10', 'cifar100', 'folder:PATH' (PATH/train/CLASS/* and PATH/test/CLASS/* or PATH/val/CLASS/*), 'npz:FILE' (arrays train_images, train_labels, test_images, test_labels), or 'module.path:factory' from your own code.",
    )
    root: str = Field(
        default="data", description="Folder for downloads, relative to the folder where emodir is started."
    )
    download: bool = Field(default=True, description="Download missing data.")
    classes_file: str = Field(
        default="", description="For folders: a file that lists the class folders to use, one a line. Empty: all."
    )
    channels: Literal[0, 1, 3] = Field(
        default=0, description="For folders: channels of the images; 1 for greyscale, 3 or 0 for colour."
    )
    image_size: int = Field(
        default=0,
        ge=0,
        le=LARGEST_SIDE,
        description="Side of the square images in pixels; 0 keeps the size of the data.",
    )
    mean: list[float] = Field(
        default=[],
        description="Mean per channel on the 0–1 scale, subtracted from the inputs. Empty: for arrays, computed from the training images; for folders, CIFAR-10's values up to 64 pixels and ImageNet's above (their average for greyscale).",
    )
    std: list[float] = Field(
        default=[],
        description="Standard deviation per channel; inputs are divided by it after the mean is subtracted. Empty: chosen as for data.mean.",
    )
    search_images: Count = Field(
        default=5000, description="Training images held out as the search split. No training of emodir uses them."
    )
    train_images: int = Field(default=0, ge=0, description="Training images to use; 0 uses all that remain.")
    test_images: int = Field(default=0, ge=0, description="Test images to use; 0 uses all.")
    split_seed: int = Field(default=0, ge=0, description="Seed of the search split, independent of the run's seed.")
    augment: Literal["none", "crop", "crop-flip", "resized-crop-flip"] = Field(
        default="crop-flip", description="Augmentation of training images."
    )
    workers: int = Field(
        default=-1, ge=-1, description="Threads that decode the images of folders; -1 or 0: one a core, at most 16."
    )

    @field_validator("mean", "std")
    @classmethod
    def _channels(cls, value: list[float]) -> list[float]:
        if len(value) not in (0, 1, 3):
            raise ValueError("must have one value per channel, 1 or 3 values (or none for the default)")
        if value and max(map(abs, value)) > 1:
            raise ValueError(f"values must be between 0 and 1, not {max(value, key=abs):g}; divide by 255?")
        return value


class Baseline(Section):
    """Training of the baseline if no weights are given."""

    epochs: Count = Field(default=160, description="Epochs.")
    batch: Count = Field(default=128, description="Images per step.")
    learning_rate: Positive = Field(default=0.1, description="Peak of the one-cycle schedule.")
    momentum: Share = Field(default=0.9, description="Nesterov momentum of SGD.")
    weight_decay: NotNegative = Field(
        default=5e-4, description="L2 penalty on the weights of convolutions and linear layers."
    )
    cache: bool = Field(
        default=True, description="Keep the trained baseline and use it again in runs with the same settings."
    )


class Divide(Section):
    """The division into sub-networks."""

    subnetworks: int = Field(default=0, ge=0, le=64, description="Number of sub-networks; 0 chooses it automatically.")
    cuts: list[str] = Field(
        default=[], description="Names of the modules after which to cut. Empty: cuts that balance MACs."
    )
    streams: bool = Field(default=False, description="Prune residual streams too, in the joint step.")


class Complexity(Section):
    """The first objective."""

    kind: Literal["macs", "params", "latency"] = Field(
        default="macs",
        description="What the search reduces: multiply-accumulates (MACs), parameters or measured latency.",
    )
    round_to: Count = Field(default=1, description="Kept channel counts are multiples of this (8 or 16 suit GPUs).")


class Search(Section):
    """NSGA-II on each sub-network."""

    population: int = Field(default=48, ge=4, le=2000, description="Population size; an even number.")
    generations: Count = Field(default=70, description="Most generations per round, not counting the first population.")
    impairment: Literal["features", "detector", "downstream"] = Field(
        default="features",
        description="Second objective: relative error of the sub-network's features ('features'), loss of a detector trained on the original features ('detector'), or KL divergence of the logits through the rest of the original network ('downstream').",
    )
    images: Count = Field(default=250, description="Images of the search split that each candidate is evaluated on.")
    batch: Count = Field(default=125, description="Images per forward pass; batch statistics are computed per pass.")
    patience: int = Field(default=15, ge=0, description="Generations without gain after which a search ends; 0: never.")
    tolerance: NotNegative = Field(
        default=1e-3,
        description="Relative gain of hypervolume over `patience` generations below which there is no gain.",
    )
    descent: bool = Field(
        default=True,
        description="Put a greedy descent along the gradient of the feature error into the first population, also that of polishing.",
    )
    guided: int = Field(
        default=3,
        ge=0,
        description="Front members per generation that get gradient-guided children. 0 disables guidance, also during polishing.",
    )
    rounds: int = Field(
        default=1, ge=1, le=2, description="2 repeats the search, shorter, after the constrained training."
    )
    second_generations: Count = Field(default=20, description="Most generations of the second round.")
    precision: Literal["auto", "full", "bfloat16"] = Field(
        default="auto",
        description="Precision of layers in the searches, the ranking and the joint step; impairments are summed in full precision. 'auto' uses bfloat16 on devices with native support (CPUs with AMX or AVX-512 BF16, GPUs since Ampere).",
    )
    evaluator: Literal["auto", "sliced", "stacked"] = Field(
        default="auto",
        description="How masks are evaluated: one at a time with only the kept channels computed ('sliced'), or several on the batch axis with pruned channels set to zero ('stacked'). 'auto' slices on CPUs; elsewhere a short measurement decides once a run.",
    )
    memory: int = Field(
        default=2048,
        ge=16,
        description="Megabytes for cached features and for masks that are evaluated together. Images whose features do not fit are left out.",
    )


class Constrain(Section):
    """Training under cross-network constraints: one set of weights for all sub-networks and masks."""

    steps: int = Field(default=450, ge=0, description="Training steps; 0 skips this step.")
    final_steps: int = Field(
        default=900,
        ge=0,
        description="Steps of a second such training, on schemes of the joint front, before channels are removed. All picks share its weights, including those requested later. 0 skips it.",
    )
    batch: Count = Field(default=128, description="Images per step.")
    learning_rate: Positive = Field(default=0.02, description="Peak of the one-cycle schedule.")
    feature_weight: NotNegative = Field(
        default=1.0,
        description="Weight of the feature constraint: feature errors at the ends of blocks, each behind its pruned predecessors.",
    )
    cross_weight: NotNegative = Field(
        default=1.0,
        description="Weight of the cross-network constraint: KL divergence of the pruned network's output, at temperature finetune.temperature.",
    )


class Rank(Section):
    """The global performance impairment ranking."""

    images: Count = Field(
        default=1000, description="Images of the search split on which each member is evaluated alone in the network."
    )
    batch: Count = Field(default=125, description="Images per forward pass.")


class Joint(Section):
    """NSGA-II over joint schemes."""

    population: int = Field(default=48, ge=4, le=2000, description="Population size; an even number.")
    generations: Count = Field(default=40, description="Most generations.")
    impairment: Literal["features", "kl"] = Field(
        default="features",
        description="Relative error of the last features before the classifier ('features'), or KL divergence of the logits ('kl').",
    )
    capacity: float = Field(
        default=2.0,
        ge=0.0,
        le=20.0,
        description="Penalty on removed parameters in the joint impairment: the odds of the feature error are multiplied by exp(capacity · share of parameters removed). Networks that keep more parameters recover more in fine-tuning. With complexity.kind = 'params', MACs are counted instead.",
    )
    images: Count = Field(default=500, description="Images of the search split that each scheme is evaluated on.")
    batch: Count = Field(default=125, description="Images per forward pass.")
    patience: int = Field(
        default=20, ge=0, description="Generations without gain after which the search ends; 0: never."
    )
    tolerance: NotNegative = Field(
        default=1e-3,
        description="Relative gain of hypervolume over `patience` generations below which there is no gain.",
    )
    polish: int = Field(
        default=40,
        ge=0,
        description="Generations of polishing, in which the schemes are refined gene by gene; 0: none.",
    )


class Pick(Section):
    """The schemes of the joint front that become networks."""

    rules: list[str] = Field(
        default=["knee"],
        description="Any of 'knee', 'max_macs=SHARE', 'max_params=SHARE', 'max_latency_ms=MS' (32 images on the run's device, float32, eager), 'max_accuracy_drop=SHARE'. The drop is measured on joint.images images before the final training and fine-tuning. The final drop is much smaller, so allow several points.",
    )

    @field_validator("rules", mode="before")
    @classmethod
    def _listed(cls, rules: Any) -> Any:
        """Split a single text at commas, as in `--set pick.rules=knee,max_macs=0.4`."""
        return [rule.strip() for rule in rules.split(",")] if isinstance(rules, str) else rules

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: list[str]) -> list[str]:
        if not rules:
            raise ValueError("must have at least one rule, such as 'knee' or 'max_macs=0.5'")
        for rule in rules:
            parse_rule(rule)
        if len(set(rules)) < len(rules):
            raise ValueError("must not repeat a rule")
        return rules


class Finetune(Section):
    """Fine-tuning of the pruned networks."""

    epochs: NotNegative = Field(default=40.0, description="Epochs; fractions are allowed; 0 skips this step.")
    batch: Count = Field(default=128, description="Images per step.")
    learning_rate: Positive = Field(default=0.05, description="Peak of the one-cycle schedule.")
    momentum: Share = Field(default=0.9, description="Nesterov momentum of SGD.")
    weight_decay: NotNegative = Field(
        default=5e-4, description="L2 penalty on the weights of convolutions and linear layers."
    )
    distillation: Share = Field(
        default=0.9, description="Weight of the original network's soft labels; 0: hard labels only."
    )
    temperature: Positive = Field(default=4.0, description="Temperature of the soft labels.")
    recalibration_images: Count = Field(
        default=2000, description="Number of augmented training images used to re-estimate batch-norm statistics."
    )


class Checkpoint(Section):
    """Saving of progress."""

    seconds: NotNegative = Field(default=60.0, description="Seconds between checkpoints; 0 saves at every safe point.")
    keep: int = Field(default=5, ge=1, description="Checkpoints kept.")


class Hardware(Section):
    """Use of the device."""

    threads: int = Field(default=0, ge=0, le=4096, description="CPU threads; 0 uses torch's default.")
    mixed_precision: bool = Field(
        default=False, description="Train in bfloat16 on devices with native support. Searches follow search.precision."
    )
    deterministic: bool = Field(
        default=True, description="Restrict CUDA to deterministic kernels, so that a resumed run is exact."
    )


class Profile(Section):
    """A whole profile."""

    name: str = Field(
        default="run",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$",
        description="Name of the profile; runs are named after it.",
    )
    seed: int = Field(default=0, ge=0, lt=1 << 62, description="Seed from which every random draw is derived.")
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="'auto', 'cpu', 'cuda' or 'cuda:N'."
    )
    model: Model = Model()
    data: Data = Data()
    baseline: Baseline = Baseline()
    divide: Divide = Divide()
    complexity: Complexity = Complexity()
    search: Search = Search()
    constrain: Constrain = Constrain()
    rank: Rank = Rank()
    joint: Joint = Joint()
    pick: Pick = Pick()
    finetune: Finetune = Finetune()
    checkpoint: Checkpoint = Checkpoint()
    hardware: Hardware = Hardware()

    @model_validator(mode="after")
    def _consistent(self) -> "Profile":
        for place, population in (("search", self.search.population), ("joint", self.joint.population)):
            if population % 2:
                raise ValueError(f"{place}.population must be an even number of at least 4, not {population}")
        if self.model.accuracy and not self.model.weights:
            raise ValueError("model.accuracy needs model.weights, of which it is known")
        if self.search.images > self.data.search_images:
            raise ValueError(
                f"search.images must be at most data.search_images ({self.data.search_images}), "
                f"not {self.search.images}"
            )
        if any(value <= 0 for value in self.data.std):
            raise ValueError(f"data.std must be above 0, not {self.data.std}")
        if self.data.mean and self.data.std and len(self.data.mean) != len(self.data.std):
            raise ValueError(
                f"data.mean and data.std must have one value per channel each, not {len(self.data.mean)} and {len(self.data.std)}"
            )
        if self.divide.cuts and self.divide.subnetworks and self.divide.subnetworks != len(self.divide.cuts) + 1:
            raise ValueError("divide.subnetworks and divide.cuts contradict each other; set only one of them")
        if self.search.rounds > 1 and not self.constrain.steps:
            raise ValueError(
                f"search.rounds must be 1 if constrain.steps is 0, not {self.search.rounds}: "
                "later rounds follow the constrained training"
            )
        return self


RULES = ("knee", "max_macs", "max_params", "max_latency_ms", "max_accuracy_drop")


def parse_rule(rule: str) -> tuple[str, float]:
    """A pick rule as (name, limit); the limit of 'knee' is 0.

    Raises:
        ValueError: The rule is unknown, or its limit is missing or out of range.
    """
    name, sign, text = rule.partition("=")
    if name not in RULES:
        raise ValueError(f"unknown rule '{rule}'. {nearest(name, RULES) or 'Rules: ' + ', '.join(RULES) + '.'}")
    if name == "knee":
        if sign:
            raise ValueError("'knee' takes no value")
        return name, 0.0
    # Rules become file names, so blanks, line ends and underscores, which float() accepts, are refused.
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise ValueError(f"rule {rule!r} must have a number, such as {name}=0.5")
    limit = float(text)
    if not limit > 0 or (name != "max_latency_ms" and limit >= 1):
        raise ValueError(f"the limit of rule '{rule}' must be " + ("above 0" if "ms" in name else "between 0 and 1"))
    return name, limit


def load(path: Path, overrides: Iterable[str] = ()) -> Profile:
    """Load a profile from a TOML file and apply overrides of the form `section.key=value`.

    Raises:
        ProfileError: The file cannot be read or a value is not valid. The message names file, key and reason.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES + 1)
        if len(content) > FILE_BYTES:
            raise ProfileError(f"{path} has more than {FILE_BYTES >> 10} kB; it is not a profile")
        text = content.decode()
        values = tomllib.loads(text)
    except OSError as error:
        raise ProfileError(f"cannot read {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path} is not a text file in UTF-8") from error
    except (ValueError, RecursionError) as error:
        # ValueError also covers a number with thousands of digits.
        raise ProfileError(f"{path} is not valid TOML: {error}") from error
    values.setdefault("name", path.stem)
    origin = str(path)
    for override in overrides:
        _override(values, override)
        origin = f"{path} with --set"
    return validate(values, origin)


def validate(values: dict[str, Any], origin: str) -> Profile:
    """Validate nested values as a profile; `origin` names their source in errors.

    Raises:
        ProfileError: A key is unknown or a value is not valid.
    """
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        raise _as_sentence(error, origin) from None


def dump(profile: Profile) -> str:
    """The profile as TOML with every key."""
    return tomli_w.dumps(profile.model_dump())


def keys() -> list[tuple[str, str, Any, str]]:
    """Every key as (key, type, default, description), in the order of the profile."""
    rows: list[tuple[str, str, Any, str]] = []
    for name, field in Profile.model_fields.items():
        if isinstance(field.default, Section):
            for key, inner in type(field.default).model_fields.items():
                rows.append((f"{name}.{key}", _type_name(inner.annotation), inner.default, inner.description or ""))
        else:
            rows.append((name, _type_name(field.annotation), field.default, field.description or ""))
    return rows


def _type_name(annotation: Any) -> str:
    literals = get_args(annotation)
    if get_origin(annotation) is Literal:
        return " | ".join(f'"{item}"' if isinstance(item, str) else str(item) for item in literals)
    names = {str: "text", int: "integer", float: "number", bool: "true or false", list[str]: "list of texts"}
    return names.get(annotation, "list of numbers")


def _override(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    key = key.strip()
    if not sign or not key:
        raise ProfileError(
            f"--set {override}: must have the form section.key=value", "Example: --set search.population=40"
        )
    known = [row[0] for row in keys()]
    if key not in known:
        raise ProfileError(f"--set {override}: unknown key '{key}'", nearest(key, known))
    *sections, last = key.split(".")
    target = values
    for section in sections:
        inner = target.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ProfileError(f"--set {override}: '{section}' is not a section in the profile")
        target = inner
    target[last] = _value(text)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


# Replacements for messages of pydantic that only programmers understand.
EXPLAINED = {
    "name": "must be at most 80 letters, digits, '.', '_' and '-'",
    "device": "must be 'auto', 'cpu', 'cuda' or 'cuda:N'",
}
KINDS = {
    "model_type": "must be a section with keys",
    "list_type": "must be a list, such as [0.5, 0.5]",
}


def _as_sentence(error: ValidationError, origin: str) -> ProfileError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    value = first.get("input")
    if first["type"] == "extra_forbidden":
        section = key.rpartition(".")[0]
        known = [row[0] for row in keys()]
        near = nearest(key, [row for row in known if row.rpartition(".")[0] == section]) or nearest(key, known)
        sections = [name for name, field in Profile.model_fields.items() if isinstance(field.default, Section)]
        near = near or nearest(key.split(".")[0], sections)
        return ProfileError(f"{origin}: unknown key '{key}'", near or "'docs/profile.md' lists every key.")
    if first["type"] == "value_error":
        reason = str(first["ctx"]["error"])
        return ProfileError(f"{origin}: {key + ': ' if key else ''}{reason}")
    explained = EXPLAINED.get(key, "") if first["type"] == "string_pattern_mismatch" else KINDS.get(first["type"], "")
    reason = explained or re.sub(r"^(Input|Value|String|List) should ", "must ", first["msg"])
    shown = repr(value) if not isinstance(value, dict) else "a section"
    hint = (
        nearest(value, first["ctx"]["expected"].replace("'", "").split(" or ")[0].split(", "))
        if (first["type"] == "literal_error" and isinstance(value, str))
        else ""
    )
    return ProfileError(f"{origin}: {key} {reason}, not {shown[:80]}", hint)


def budgets(profile: Profile) -> list[float]:
    """Limits of the pick rules on the searched complexity: shares, or milliseconds if it is latency; ascending."""
    kind = profile.complexity.kind
    name = "max_latency_ms" if kind == "latency" else f"max_{kind}"
    return sorted({limit for rule, limit in map(parse_rule, profile.pick.rules) if rule == name})
