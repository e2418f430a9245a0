"""The profile: what a run is to do. TOML on disk, validated here once, trusted everywhere else.

Each key's description gives its unit; its default stands beside it. `docs/profile.md` is made from these descriptions.
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


class Section(BaseModel):
    """Unknown keys are refused, and no string is taken for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Model(Section):
    """The network to prune."""

    source: str = Field(
        default="digits-resnet",
        description="A network of the zoo (digits-resnet, vgg16, resnet20 … resnet110), 'torchvision:NAME', 'timm:NAME', "
        "or 'module.path:factory' from your own code (called with the number of classes, as num_classes where it has that "
        "argument).",
    )
    weights: str = Field(
        default="",
        description="File with trained weights (.safetensors, or .pt read as weights only). Empty: a baseline is trained.",
    )
    classes: int = Field(default=0, ge=0, description="Number of classes; 0 takes it from the data.")


class Data(Section):
    """Images and their splits."""

    source: str = Field(
        default="digits",
        description="'digits' (shipped with scikit-learn), 'cifar10', 'cifar100', 'folder:PATH' (PATH/train/CLASS/*, "
        "PATH/test/CLASS/* or PATH/val/CLASS/*), 'npz:FILE' (arrays train_images, train_labels, test_images, "
        "test_labels), or 'module.path:factory' from your own code.",
    )
    root: str = Field(default="data", description="Folder where downloads live; relative to where emodir is started.")
    download: bool = Field(default=True, description="Whether missing data may be downloaded.")
    classes_file: str = Field(
        default="", description="For folders: a file that lists the class folders to take, one a line. Empty: all."
    )
    channels: Literal[0, 1, 3] = Field(
        default=0, description="Channels that the images of folders are read with: 1 for grey; 0: 3, as colour."
    )
    image_size: int = Field(default=0, ge=0, description="Side of the square images in pixels; 0 keeps the data's own.")
    mean: list[float] = Field(
        default=[],
        description="Mean per channel on the 0..1 scale, which is taken off. Empty: for arrays that of the training "
        "images; for folders CIFAR-10's up to 64 pixels, ImageNet's from there on (for grey the average over colours).",
    )
    std: list[float] = Field(
        default=[], description="Standard deviation per channel, by which is divided then; empty: as for data.mean."
    )
    search_images: Count = Field(
        default=5000,
        description="Training images held out as the search split, which no training of emodir's ever sees.",
    )
    train_images: int = Field(default=0, ge=0, description="Training images to use; 0 takes all that are left.")
    test_images: int = Field(default=0, ge=0, description="Test images to use; 0 takes all.")
    split_seed: int = Field(default=0, ge=0, description="Seed of the split; kept apart from the run's seed.")
    augment: Literal["none", "crop", "crop-flip", "resized-crop-flip"] = Field(
        default="crop-flip", description="Augmentation of training images."
    )
    workers: int = Field(
        default=-1, ge=-1, description="Threads that decode the images of folders; -1 and 0: one a core, 16 at most."
    )

    @field_validator("mean", "std")
    @classmethod
    def _channels(cls, value: list[float]) -> list[float]:
        if len(value) not in (0, 1, 3):
            raise ValueError("needs one value per channel: 1 or 3 of them (or none for the usual one)")
        if value and max(map(abs, value)) > 1:
            raise ValueError(f"{max(value, key=abs):g} is no value on the 0..1 scale; divide by 255?")
        return value


class Baseline(Section):
    """How a baseline is trained where no weights are given. It is cached and used again by later runs."""

    epochs: Count = Field(default=160, description="Epochs.")
    batch: Count = Field(default=128, description="Images per step.")
    learning_rate: Positive = Field(default=0.1, description="Peak of the one-cycle schedule.")
    momentum: Share = Field(default=0.9, description="Nesterov momentum of SGD.")
    weight_decay: NotNegative = Field(
        default=5e-4, description="L2 penalty on weights of convolutions and linear layers."
    )
    cache: bool = Field(
        default=True, description="Whether a baseline trained with these settings is kept and used again."
    )


class Divide(Section):
    """Division into sub-networks."""

    subnetworks: int = Field(default=0, ge=0, le=64, description="Number of sub-networks; 0 lets emodir choose it.")
    cuts: list[str] = Field(default=[], description="Names of modules after which to cut; empty: balanced MACs.")
    streams: bool = Field(default=False, description="Whether residual streams are pruned too, by the joint step.")


class Complexity(Section):
    """The first objective."""

    kind: Literal["macs", "params", "latency"] = Field(
        default="macs", description="What a mask is to reduce: multiply-accumulates, parameters or measured latency."
    )
    round_to: Count = Field(default=1, description="Kept channels are multiples of this (8 or 16 for GPUs).")


class Search(Section):
    """NSGA-II on each sub-network."""

    population: int = Field(default=48, ge=4, le=2000, description="Members of the population; an even number.")
    generations: Count = Field(default=70, description="Most generations per round, the first population not counted.")
    impairment: Literal["features", "detector", "downstream"] = Field(
        default="features",
        description="Second objective: relative error of the sub-network's features, loss of a detector trained on the "
        "original features, or KL divergence of the logits through the rest of the original network.",
    )
    images: Count = Field(default=250, description="Images of the search split that each candidate sees.")
    batch: Count = Field(default=125, description="Images per forward pass; batch statistics are taken over one.")
    patience: int = Field(default=15, ge=0, description="Generations without gain after which a search ends; 0: never.")
    tolerance: NotNegative = Field(
        default=1e-3, description="Relative gain of hypervolume over `patience` generations that counts as none."
    )
    descent: bool = Field(
        default=True,
        description="Whether the first population holds a greedy descent that follows the gradient of the feature error; "
        "polishing's too.",
    )
    guided: int = Field(
        default=3,
        ge=0,
        description="Members per generation that get children bred along that gradient; 0: none, in polishing neither.",
    )
    rounds: int = Field(
        default=1, ge=1, le=2, description="2 searches once more, shorter, after the constrained training."
    )
    second_generations: Count = Field(default=20, description="Most generations of the second round.")
    precision: Literal["auto", "full", "bfloat16"] = Field(
        default="auto",
        description="Precision in which searches, the ranking and the joint step run layers; impairments are summed in "
        "full. 'auto' takes bfloat16 on devices that multiply it natively (CPUs with AMX or AVX-512 BF16, GPUs since Ampere).",
    )
    evaluator: Literal["auto", "sliced", "stacked"] = Field(
        default="auto",
        description="How masks are evaluated: each with its kept channels gathered, or several stacked on the batch axis "
        "with the others masked. 'auto' slices on CPUs; elsewhere a short measurement decides, once a run.",
    )
    memory: int = Field(
        default=2048,
        ge=16,
        description="Megabytes for cached features (images that do not fit are left out) and for masks evaluated side by side.",
    )


class Constrain(Section):
    """Training under cross-network constraints: of all sub-networks together, one set of weights for all masks."""

    steps: int = Field(default=450, ge=0, description="Training steps; 0 leaves this step out.")
    final_steps: int = Field(
        default=900,
        ge=0,
        description="Steps of a second such training, in schemes of the joint front, before channels are removed: one for all "
        "picks, those too that are asked for later. 0 leaves it out.",
    )
    batch: Count = Field(default=128, description="Images per step.")
    learning_rate: Positive = Field(default=0.02, description="Peak of the one-cycle schedule.")
    feature_weight: NotNegative = Field(
        default=1.0,
        description="Weight of the feature constraint: errors at the ends of blocks, each behind its pruned predecessors.",
    )
    cross_weight: NotNegative = Field(
        default=1.0,
        description="Weight of the cross-network constraint: KL divergence of the whole pruned chain's output, softened by "
        "finetune.temperature.",
    )


class Rank(Section):
    """The global performance impairment ranking."""

    images: Count = Field(default=1000, description="Images of the search split on which each member is placed alone.")
    batch: Count = Field(default=125, description="Images per forward pass.")


class Joint(Section):
    """NSGA-II over the schemes."""

    population: int = Field(default=48, ge=4, le=2000, description="Members of the population; an even number.")
    generations: Count = Field(default=40, description="Most generations.")
    impairment: Literal["features", "kl"] = Field(
        default="features",
        description="Relative error of the last features before the classifier, or KL of the logits.",
    )
    capacity: float = Field(
        default=2.0,
        ge=0.0,
        le=20.0,
        description="How much the parameters that a scheme takes (MACs, where parameters are the complexity) count in its "
        "impairment beside the features' error, whose odds are multiplied by exp(capacity · share that is gone): the more "
        "is left to train, the more fine-tuning gives back.",
    )
    images: Count = Field(default=500, description="Images of the search split that each scheme sees.")
    batch: Count = Field(default=125, description="Images per forward pass.")
    patience: int = Field(
        default=20, ge=0, description="Generations without gain after which the search ends; 0: never."
    )
    tolerance: NotNegative = Field(default=1e-3, description="Relative gain of hypervolume that counts as none.")
    polish: int = Field(
        default=40, ge=0, description="Generations in which the schemes are then changed gene by gene; 0: none."
    )


class Pick(Section):
    """Which schemes of the joint front become networks."""

    rules: list[str] = Field(
        default=["knee"],
        description="Any of 'knee', 'max_macs=SHARE', 'max_params=SHARE', 'max_latency_ms=MS' (32 images on the run's device, "
        "float32, eager), 'max_accuracy_drop=SHARE' (before the last training and fine-tuning, on joint.images images: "
        "the drop that is left in the end is smaller by far, so allow several points).",
    )

    @field_validator("rules", mode="before")
    @classmethod
    def _listed(cls, rules: Any) -> Any:
        """One text is taken for its rules, as `--set pick.rules=knee,max_macs=0.4` gives it."""
        return [rule.strip() for rule in rules.split(",")] if isinstance(rules, str) else rules

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: list[str]) -> list[str]:
        if not rules:
            raise ValueError("needs at least one rule, such as 'knee' or 'max_macs=0.5'")
        for rule in rules:
            parse_rule(rule)
        if len(set(rules)) < len(rules):
            raise ValueError("names a rule twice")
        return rules


class Finetune(Section):
    """Fine-tuning of the pruned networks."""

    epochs: NotNegative = Field(default=40.0, description="Epochs; parts of one are allowed; 0 leaves this step out.")
    batch: Count = Field(default=128, description="Images per step.")
    learning_rate: Positive = Field(default=0.05, description="Peak of the one-cycle schedule.")
    momentum: Share = Field(default=0.9, description="Nesterov momentum of SGD.")
    weight_decay: NotNegative = Field(default=5e-4, description="L2 penalty.")
    distillation: Share = Field(
        default=0.9, description="Weight of the original network's soft labels; 0: hard labels only."
    )
    temperature: Positive = Field(default=4.0, description="Temperature of the soft labels.")
    recalibration_images: Count = Field(
        default=2000, description="Training images, augmented as for training, of which batch statistics are set anew."
    )


class Checkpoint(Section):
    """How often progress is saved."""

    seconds: NotNegative = Field(default=60.0, description="Seconds between checkpoints; 0 saves at every safe point.")
    keep: int = Field(default=5, ge=1, description="Checkpoints kept.")


class Hardware(Section):
    """How the device is used."""

    threads: int = Field(default=0, ge=0, description="CPU threads; 0 leaves it to torch.")
    mixed_precision: bool = Field(
        default=False,
        description=(
            "Whether trainings run in bfloat16, on devices that multiply it natively; "
            "of the searches 'search.precision' decides."
        ),
    )
    deterministic: bool = Field(
        default=True, description="Whether CUDA is kept to deterministic kernels, so that a resumed run is exact."
    )


class Profile(Section):
    """A whole profile."""

    name: str = Field(
        default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$", description="Runs are named after it."
    )
    seed: int = Field(default=0, ge=0, lt=1 << 62, description="Every random draw is derived from it.")
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
                raise ValueError(f"{place}.population is {population}; NSGA-II needs an even number of at least 4")
        if self.search.images > self.data.search_images:
            raise ValueError(
                f"search.images is {self.search.images}, more than the search split has "
                f"(data.search_images is {self.data.search_images})"
            )
        if any(value <= 0 for value in self.data.std):
            raise ValueError(f"data.std is {self.data.std}; deviations are above 0")
        if self.data.mean and self.data.std and len(self.data.mean) != len(self.data.std):
            raise ValueError(
                f"data.mean has {len(self.data.mean)} values and data.std {len(self.data.std)}; give one a channel"
            )
        if self.divide.cuts and self.divide.subnetworks and self.divide.subnetworks != len(self.divide.cuts) + 1:
            raise ValueError("divide.subnetworks and divide.cuts disagree; give one of them")
        if self.search.rounds > 1 and not self.constrain.steps:
            raise ValueError(
                f"search.rounds is {self.search.rounds}, but later rounds follow the constrained training and constrain.steps "
                "is 0; give it steps, or set search.rounds to 1"
            )
        return self


RULES = ("knee", "max_macs", "max_params", "max_latency_ms", "max_accuracy_drop")


def parse_rule(rule: str) -> tuple[str, float]:
    """A pick rule as (name, limit); the limit of 'knee' is 0.

    Raises:
        ValueError: It is none.
    """
    name, sign, text = rule.partition("=")
    if name not in RULES:
        raise ValueError(f"'{rule}' is no rule. {nearest(name, RULES) or 'There are: ' + ', '.join(RULES) + '.'}")
    if name == "knee":
        if sign:
            raise ValueError("'knee' takes no value")
        return name, 0.0
    # Rules become file names: no blanks, line ends or underscores, which float() would take.
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise ValueError(f"{rule!r} needs a number, such as {name}=0.5")
    limit = float(text)
    if not limit > 0 or (name != "max_latency_ms" and limit >= 1):
        raise ValueError(f"'{rule}' is out of range: it must be above 0" + ("" if "ms" in name else " and below 1"))
    return name, limit


def load(path: Path, overrides: Iterable[str] = ()) -> Profile:
    """The profile in a TOML file, with `section.key=value` overrides on top.

    Raises:
        ProfileError: It can't be read, or something in it can't be used; says file, key, reason and nearest name.
    """
    try:
        text = path.read_bytes().decode()
        values = tomllib.loads(text)
    except OSError as error:
        raise ProfileError(f"{path} can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path} is not a text file in UTF-8") from error
    except (ValueError, RecursionError) as error:
        # Beside TOML's own: a number of thousands of digits.
        raise ProfileError(f"{path} is not valid TOML: {error}") from error
    values.setdefault("name", path.stem)
    origin = str(path)
    for override in overrides:
        _override(values, override)
        origin = f"{path} with --set"
    return validate(values, origin)


def validate(values: dict[str, Any], origin: str) -> Profile:
    """The profile that these values make. Raises ProfileError with `origin` in front."""
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        raise _as_sentence(error, origin) from None


def dump(profile: Profile) -> str:
    """The resolved profile as TOML, every key written out."""
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
        raise ProfileError(f"--set {override}: needs the form section.key=value", "Such as --set search.population=40")
    known = [row[0] for row in keys()]
    if key not in known:
        raise ProfileError(f"--set {override}: there is no key '{key}'", nearest(key, known))
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


# What is wrong with a value, where pydantic's words are of programs.
EXPLAINED = {
    "name": "names are letters, digits, '.', '_' and '-', 80 at most",
    "device": "devices are 'auto', 'cpu', 'cuda' and 'cuda:N'",
}
KINDS = {
    "model_type": "it is a section, with keys of its own",
    "list_type": "it is a list, such as [0.5, 0.5]",
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
        return ProfileError(f"{origin}: there is no key '{key}'", near or "'docs/profile.md' lists every key.")
    if first["type"] == "value_error":
        reason = str(first["ctx"]["error"])
        return ProfileError(f"{origin}: {key + ': ' if key else ''}{reason}")
    explained = EXPLAINED.get(key, "") if first["type"] == "string_pattern_mismatch" else KINDS.get(first["type"], "")
    reason = explained or first["msg"][0].lower() + first["msg"][1:]
    shown = repr(value) if not isinstance(value, dict) else "a section"
    hint = (
        nearest(value, first["ctx"]["expected"].replace("'", "").split(" or ")[0].split(", "))
        if (first["type"] == "literal_error" and isinstance(value, str))
        else ""
    )
    return ProfileError(f"{origin}: {key} is {shown[:80]}; {reason}", hint)


def budgets(profile: Profile) -> list[float]:
    """The limits that the pick rules set on the searched complexity: shares, or milliseconds where that is latency."""
    kind = profile.complexity.kind
    name = "max_latency_ms" if kind == "latency" else f"max_{kind}"
    return sorted({limit for rule, limit in map(parse_rule, profile.pick.rules) if rule == name})
