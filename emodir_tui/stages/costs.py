"""The expected cost of each stage, from which the remaining time is estimated."""

from emodir_tui.bench import Bench
from emodir_tui.emo.guided_nsga2 import AT_LIMIT, CHILDREN
from emodir_tui.problems.gene_by_gene import GUIDED_PARENTS
from emodir_tui.profile import budgets
from emodir_tui.runs.names import StageName
from emodir_tui.stages.support.baseline_cache import cache_file

# Backward costs about twice a forward pass; sliced candidates average a bit more than half of the network.
TRAINING, CANDIDATE = 3.0, 0.6
# Members of a front after its last evaluation; those of ResNet-20, ResNet-56 and VGG-16 on CIFAR-10 had 46 to 133.
TYPICAL_FRONT = 90
DIVIDING = 200.0
DESCENT = 200


def expected_costs(bench: Bench, subnetworks: int) -> dict[str, float]:
    """Per stage, its cost in forward passes of the whole original network on one image, for this number of sub-networks."""
    profile = bench.profile
    guided = profile.search.guided * CHILDREN
    candidates = profile.search.population * (profile.search.generations + 1) + guided * profile.search.generations
    schemes = profile.joint.population * (profile.joint.generations + profile.joint.polish + 1)
    # A descent takes about 40 steps, each with two to a handful of moves.
    schemes += DESCENT if profile.search.descent and profile.joint.polish else 0
    parents = GUIDED_PARENTS + AT_LIMIT * len(budgets(profile))
    schemes += (parents * CHILDREN if guided else 0) * profile.joint.polish
    second = profile.search.population * profile.search.second_generations if profile.search.rounds > 1 else 0
    read = images_read(bench)
    # Training a pruned network; each step also runs the original.
    pruned = TRAINING * CANDIDATE + 1
    return {
        StageName.DIVIDE: DIVIDING,
        StageName.BASELINE: TRAINING * read[StageName.BASELINE] + len(bench.data.test),
        StageName.SEARCH: CANDIDATE * candidates * profile.search.images,
        StageName.CONSTRAIN: pruned * read[StageName.CONSTRAIN] + CANDIDATE * second * profile.search.images,
        StageName.RANK: TYPICAL_FRONT * subnetworks * profile.rank.images * CANDIDATE,
        StageName.JOINT: CANDIDATE * schemes * profile.joint.images,
        StageName.REALISE: pruned * profile.constrain.batch * profile.constrain.final_steps
        + float(len(profile.pick.rules) * (profile.finetune.recalibration_images + len(bench.data.test))),
        StageName.FINETUNE: pruned * read[StageName.FINETUNE],
    }


def images_read(bench: Bench) -> dict[str, float]:
    """Per stage, the number of training images that it reads."""
    profile, train, rules = bench.profile, len(bench.data.train), len(bench.profile.pick.rules)
    trained = profile.model.weights or (profile.baseline.cache and cache_file(bench).exists())
    final = profile.constrain.batch * profile.constrain.final_steps
    return {
        StageName.BASELINE: 0.0 if trained else float(profile.baseline.epochs * train),
        StageName.CONSTRAIN: float(profile.constrain.batch * profile.constrain.steps),
        StageName.REALISE: float(final + rules * profile.finetune.recalibration_images),
        StageName.FINETUNE: rules * profile.finetune.epochs * train,
    }
