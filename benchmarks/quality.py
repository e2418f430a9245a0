"""Accuracy at the same MACs: emodir against importance pruners, with the same recalibration and the same fine-tuning.

    python benchmarks/quality.py --quick
    python benchmarks/quality.py PROFILE --seeds 0 1 2 [--levels 0.7 0.5 0.3 0.15] [--steps 200] [--set KEY=VALUE …]
    python benchmarks/quality.py PROFILE … --more-steps 450 --methods "Taylor per MAC" …

The first command uses the digits of scikit-learn. In the others PROFILE and --set name network, weights and data as for
`emodir run`; the third fine-tunes longer, in separate rows. Every measurement is added to a JSON file as soon as it is
made, and none is repeated, so a stopped benchmark continues. `tools/pages.py` writes the tables from these files.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import made_on
from pruners import Context, UnreachableError, baselines
from torch import Tensor, nn

from emodir_tui.bench import EVALUATION_BATCH, Bench, choose_device, configure_torch, open_bench
from emodir_tui.nets.modules.precision import has_fast_bfloat16
from emodir_tui.nets.removal import apply_structure
from emodir_tui.nets.sources.models import load_tensors
from emodir_tui.profile import Profile, load
from emodir_tui.results import Adapted, JointFront, Original, Parts, Pruned
from emodir_tui.runs.checkpoint import Results
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.seeds import derive_seed
from emodir_tui.snapshot import unpack
from emodir_tui.training.data import Split
from emodir_tui.training.loop import TrainingPlan, train
from emodir_tui.training.losses import distillation, kl
from emodir_tui.training.metrics import accuracy, recalibrate

HERE = Path(__file__).parent
# Unaugmented training images, for all methods. emodir's own runs augment them, which makes all networks somewhat better.
RECALIBRATION_BATCH = 250
EMODIR = {"emodir": (), "emodir, no constrained training": ("constrain.steps=0", "constrain.final_steps=0")}
QUICK = [
    "baseline.epochs=3", "baseline.cache=false", "data.train_images=400", "search.population=16", "search.images=100",
    "search.generations=3", "joint.population=16", "joint.images=100", "joint.generations=3", "joint.polish=2",
    "constrain.steps=6", "constrain.final_steps=4", "rank.images=100", "finetune.recalibration_images=200",
]  # fmt: skip


def main() -> None:
    """Measure what is missing."""
    parser = parser_of(__doc__, [0.7, 0.5, 0.3, 0.15])
    parser.add_argument(
        "--more-steps",
        type=int,
        default=0,
        help="further fine-tuning steps, in separate rows",
    )
    arguments = parser.parse_args()
    profile, records = opened(arguments, "quality")
    for seed in arguments.seeds:
        Seed(profile, arguments, seed, records).measure(arguments.more_steps)


def parser_of(documentation: str, levels: list[float]) -> argparse.ArgumentParser:
    """The arguments of both accuracy benchmarks."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", nargs="?", default="profiles/digits.toml")
    parser.add_argument("--quick", action="store_true", help="digits, one level, one seed, few steps")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--levels", type=float, nargs="+", default=levels)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument(
        "--searched-generations",
        type=int,
        default=20,
        help="generations of the pruner with searched ratios (population: joint's)",
    )
    parser.add_argument("--full-precision", action="store_true", help="fine-tune in float32 instead of bfloat16")
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="where the runs of emodir are kept")
    parser.add_argument("--out", type=Path)
    return parser


def opened(arguments: argparse.Namespace, kind: str) -> tuple[Profile, "Records"]:
    """The profile and the file of measurements that the arguments name."""
    if arguments.quick:
        arguments.seeds, arguments.levels, arguments.steps = [0], [0.5], 10
        arguments.searched_generations = 3
        arguments.overrides = [*arguments.overrides, *QUICK]
    profile = load(Path(arguments.profile), arguments.overrides)
    out = arguments.out or HERE / "results" / f"{kind}-{profile.name}{'-quick' if arguments.quick else ''}.json"
    return profile, Records(out, about(profile, arguments))


class Records:
    """The measurements made so far, in a JSON file."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            known = json.loads(path.read_text())
            self.rows = known["rows"]
            # The settings of emodir matter only if its networks are among the rows.
            pruners = {"original", *baselines(0, 0, 0)}
            ours = any(row["method"] not in pruners for row in self.rows)
            same = ["settings", "machine", "device", "versions", *(["emodir"] if ours else [])]
            if any(known["about"][key] != about[key] for key in same):
                sys.exit(
                    f"{path} holds measurements with other settings or from elsewhere; give another --out, or remove it"
                )
        self.about = about

    def has(self, method: str, seed: int, level: float, more_steps: int = 0) -> bool:
        """Whether this measurement exists."""
        wanted = (method, seed, level, more_steps)
        return any((r["method"], r["seed"], r["level"], r.get("more_steps", 0)) == wanted for r in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Add a measurement and write the file."""
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = ",\n  ".join(json.dumps(row) for row in self.rows)
        self.path.write_text(f'{{"about": {json.dumps(self.about)},\n "rows": [\n  {rows}\n]}}\n')
        print(json.dumps(row), flush=True)


class Seed:
    """All methods at one seed, with the same fine-tuning batches and teacher logits."""

    def __init__(self, profile: Profile, arguments: argparse.Namespace, seed: int, records: Records) -> None:
        self.profile = profile.model_copy(update={"seed": seed})
        self.arguments, self.seed, self.records = arguments, seed, records
        self.logits: dict[int, Tensor] = {}
        self.judged: Tensor | None = None
        configure_torch(self.profile, choose_device(self.profile.device))
        self.bench = bench = open_bench(self.profile)
        # The images that accuracies are measured on.
        self.judge: Split = bench.data.test

    def measure(self, more_steps: int = 0) -> None:
        """Measure what this seed lacks."""
        bench = self.bench
        original, parts = self.begin()
        context = Context(bench, original.weights, parts.cuts, derive_seed(self.seed, "baselines"))
        if not self.records.has("original", self.seed, 1.0):
            self.records.add({"method": "original", "seed": self.seed, "level": 1.0, "finetuned": original.accuracy})
        settings = self.profile.joint
        others = baselines(settings.population, self.arguments.searched_generations, settings.images)
        for level in sorted(self.arguments.levels, key=lambda level: abs(level - 0.4)):
            for method, make in others.items():
                self.one(method, level, partial(make, context, level), more_steps)
            for method, overrides in EMODIR.items():
                self.one(method, level, partial(self.realised, overrides, level), more_steps, overrides)

    def begin(self) -> tuple[Original, Parts]:
        """The first two results of the default run; the original is the teacher of all fine-tunings."""
        results = Results(self.emodir(()))
        original: Original = result(results, "baseline", Original)
        self.teacher = self.bench.model(original.weights)
        return original, result(results, "divide", Parts)

    def one(
        self,
        method: str,
        level: float,
        make: Callable[[], nn.Module],
        more_steps: int = 0,
        overrides: tuple[str, ...] | None = None,
    ) -> None:
        """Recalibrate, measure, fine-tune, measure; `overrides` are the settings of the emodir run that made the network."""
        wanted = self.arguments.methods
        if self.records.has(method, self.seed, level, more_steps) or (wanted and method not in wanted):
            return
        row: dict[str, Any] = {
            "method": method,
            "seed": self.seed,
            "level": level,
            "revision": self.records.about["revision"],
        }
        if more_steps:
            row["more_steps"] = more_steps
        began = time.monotonic()
        try:
            model = make()
        except UnreachableError as error:
            self.records.add({**row, "note": str(error)})
            return
        seconds = time.monotonic() - began
        bench, settings = self.bench, self.profile.finetune
        model.to(memory_format=torch.channels_last)
        batches = bench.batches(bench.data.train, settings.recalibration_images, RECALIBRATION_BATCH)
        recalibrate(model, [inputs for inputs, _ in batches])
        before = accuracy(model, self.judge, EVALUATION_BATCH)
        self.finetune(model, self.arguments.steps + more_steps)
        self.records.add(
            {
                **row,
                "macs_kept": macs(model, bench) / macs(self.teacher, bench),
                "recalibrated": before,
                "finetuned": accuracy(model, self.judge, EVALUATION_BATCH),
                "divergence": self.divergence(model),
                "making_seconds": round(seconds, 1),
                **(self.searched(overrides) if overrides is not None else {}),
            }
        )

    def divergence(self, model: nn.Module) -> float:
        """KL divergence of a network's output from the original's in nats, on the images that accuracies are measured on."""
        if self.judged is None:
            self.judged = logits(self.teacher, self.judge)
        return float(kl(logits(model, self.judge), self.judged))

    def searched(self, overrides: tuple[str, ...]) -> dict[str, int]:
        """The masks of sub-networks and schemes of the whole network that emodir's run evaluated, and its number of picks."""
        results = Results(self.emodir(overrides))
        fronts = result(results, "constrain", Adapted).fronts
        joint = result(results, "joint", JointFront)
        ranked = sum(len(front.masks) for front in fronts)
        masks, picks = sum(front.evaluations for front in fronts), len(result(results, "realise", list[Pruned]))
        return {"masks": masks, "schemes": ranked + joint.evaluations, "picks": picks}

    def finetune(self, model: nn.Module, steps: int) -> None:
        """Fine-tune with the same steps, batches, learning rates and soft labels for every method."""
        settings = self.profile.finetune
        plan = TrainingPlan(
            steps=steps,
            batch=settings.batch,
            learning_rate=self.arguments.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            augmentation=self.profile.data.augment,
            mixed_precision=reduced(self.profile, self.arguments),
            seed=derive_seed(self.seed, "quality"),
        )

        def loss(network: nn.Module, inputs: Tensor, labels: Tensor, step: int) -> Tensor:
            # A batch that does not fit into memory comes in chunks.
            whole = len(inputs) == settings.batch
            taught = self.logits.get(step) if whole else None
            if taught is None:
                with torch.no_grad():
                    taught = self.teacher.eval()(inputs).float()
                if whole:
                    self.logits[step] = taught
            logits = network(inputs).float()
            return distillation(logits, taught, labels, settings.distillation, settings.temperature)

        for parameter in model.parameters():
            parameter.requires_grad_(True)
        train(model, self.bench.data.train, loss, plan, on_step=lambda _: None)

    def realised(self, overrides: tuple[str, ...], level: float) -> nn.Module:
        """The network that a run of emodir picked for this budget, before fine-tuning."""
        run = self.emodir(overrides)
        made: Pruned = result(Results(run), f"realise.max_macs-{level}", Pruned)
        model = apply_structure(self.bench.model(), self.bench.example, json.loads(made.structure))
        load_tensors(model, made.weights)
        return model

    def emodir(self, overrides: tuple[str, ...]) -> RunDirectory:
        """A finished run; it is started or resumed if necessary."""
        folder: Path = self.arguments.work / f"quality-{self.profile.name}-{self.seed}-{'-'.join(overrides) or 'full'}"
        rules = json.dumps([f"max_macs={level}" for level in self.arguments.levels])
        extra = [f"seed={self.seed}", "finetune.epochs=0", f"pick.rules={rules}", *self.arguments.overrides, *overrides]
        runs = sorted(folder.glob("*/run.json")) if folder.exists() else []
        command = [str(Path(sys.executable).with_name("emodir"))]
        expected = load(Path(self.arguments.profile), extra)
        found = load(runs[0].parent / "profile.toml") if runs else expected
        # A run with more picks than levels is still the same run; rows record the number of picks that share its final training.
        if found.model_copy(update={"pick": expected.pick}) != expected:
            sys.exit(f"{runs[0].parent} is a run with other settings; give another --work, or remove it")
        if not runs:
            settings = [part for value in extra for part in ("--set", value)]
            command += ["run", self.arguments.profile, "--no-tui", "--runs-dir", str(folder), *settings]
        else:
            command += ["resume", runs[0].parent.name, "--no-tui", "--runs-dir", str(folder)]
        if not runs or not (runs[0].parent / "results" / "finetune.result").exists():
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return RunDirectory(next(folder.glob("*/run.json")).parent)


def result(results: Results, name: str, kind: Any) -> Any:
    """A result of a run."""
    saved = results.load(name)
    if saved is None:
        raise SystemExit(f"the run in {results.folder.parent} has no result '{name}'")
    return unpack(saved.payload, kind)


@torch.no_grad()
def logits(model: nn.Module, split: Split) -> Tensor:
    """A network's output for all images of a split, float32[n, classes]."""
    return torch.cat([model.eval()(inputs).float() for inputs, _ in split.batches(EVALUATION_BATCH)])


@torch.no_grad()
def macs(model: nn.Module, bench: Bench) -> float:
    """Multiply-accumulates of convolutions and linear layers for one image, counted in a forward pass."""
    total = 0.0

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        total += output[0].numel() * weight[0].numel() if weight.numel() else 0

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    model.eval()(bench.example)
    for hook in hooks:
        hook.remove()
    return total


def reduced(profile: Profile, arguments: argparse.Namespace) -> bool:
    """Whether fine-tuning runs in bfloat16: the device supports it, and the arguments do not forbid it."""
    return not arguments.full_precision and has_fast_bfloat16(choose_device(profile.device))


def about(profile: Profile, arguments: argparse.Namespace) -> dict[str, Any]:
    """Machine, versions, settings."""
    return {
        "network": profile.name,
        "settings": {
            "steps": arguments.steps,
            "learning_rate": arguments.learning_rate,
            "batch": profile.finetune.batch,
            "distillation": profile.finetune.distillation,
            "searched_evaluations": profile.joint.population * (arguments.searched_generations + 1),
            "mixed_precision": reduced(profile, arguments),
        },
        "baseline": None if profile.model.weights else profile.baseline.model_dump(),
        "emodir": {name: getattr(profile, name).model_dump() for name in ("divide", "search", "constrain", "joint")},
        **made_on("torchvision", "torch-pruning", "numpy", device=profile.device, threads=profile.hardware.threads),
    }


if __name__ == "__main__":
    main()
