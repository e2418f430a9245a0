"""Effect of each step of the method: whole runs that differ from the default one in one or two settings.

    python benchmarks/steps.py PROFILE --seeds 0 [--levels 0.5 0.3] [--variants …] [--set KEY=VALUE …]

Accuracies before and after the same fine-tuning are measured on images of the search split that no search saw. The test
split is not used, so defaults can be chosen by these figures.
"""

from functools import partial

import torch
from quality import Seed, opened, parser_of

from emodir_tui.training.data import Split

VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "no constrained training": ("constrain.steps=0", "constrain.final_steps=0"),
    "no final training": ("constrain.final_steps=0",),
    "final training alone": ("constrain.steps=0",),
    "feature constraint alone": ("constrain.cross_weight=0.0",),
    "cross-network constraint alone": ("constrain.feature_weight=0.0",),
    "a second round": ("search.rounds=2", "search.second_generations=5"),
    "impairment: detector": ("search.impairment=detector",),
    "impairment: downstream": ("search.impairment=downstream",),
    "capacity not counted": ("joint.capacity=0.0",),
    "joint impairment: KL": ("joint.impairment=kl",),
    "no polishing, more positions": ("joint.polish=0", "joint.generations=40", "joint.patience=0"),
    "polishing alone": ("joint.generations=1",),
    "one sub-network": ("divide.subnetworks=1",),
    "six sub-networks": ("divide.subnetworks=6",),
    "streams": ("divide.streams=true",),
}


def main() -> None:
    """Measure what is missing."""
    parser = parser_of(__doc__, [0.5, 0.3])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    arguments = parser.parse_args()
    # Runs of quality.py may have other pick rules, so they are not reused.
    arguments.work /= "steps"
    profile, records = opened(arguments, "steps")
    for number in arguments.seeds:
        measure(Seed(profile, arguments, number, records))


def measure(seed: Seed) -> None:
    """Measure what this seed lacks."""
    settings = seed.profile
    seen = max(settings.search.images, settings.rank.images, settings.joint.images)
    seed.judge = held_out(seed.bench.data.search, seen)
    seed.begin()
    for variant in seed.arguments.variants:
        for level in seed.arguments.levels:
            overrides = VARIANTS[variant]
            seed.one(variant, level, partial(seed.realised, overrides, level), overrides=overrides)


def held_out(split: Split, skip: int) -> Split:
    """The search split without the images that searches use."""
    rest = split.images.subset(torch.arange(skip, len(split)))
    return type(split)(images=rest, mean=split.mean, std=split.std, device=split.device)


if __name__ == "__main__":
    main()
