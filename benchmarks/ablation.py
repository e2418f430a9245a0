"""Effect of each component of the search at equal time; defaults were chosen by these figures.

    python benchmarks/ablation.py PROFILE [--set KEY=VALUE …] [--seconds 40] [--seeds 0 1 2] [--out FILE]

Each variant searches every sub-network for the same time. Then the joint schemes are searched for the same time, from the
fronts of the default variant. Fronts are measured again on images that no search saw and reported as hypervolumes, so a
variant that overfits its few images loses. Joint fronts use the error of the last features alone, without the parameters
that the joint step adds.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import made_on
from steps import held_out

from emodir_tui.bench import Bench, choose_device, configure_torch, open_bench
from emodir_tui.emo.front import hypervolume, non_dominated
from emodir_tui.emo.guided_nsga2 import GuidedNsga2
from emodir_tui.emo.mask_space import Variation
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.emo.position_space import JointVariation, PositionSpace
from emodir_tui.nets.division import Division, SubnetworkSpan, divide_network
from emodir_tui.nets.measures.importance import taylor
from emodir_tui.problems.gene_by_gene import GUIDED_PARENTS, GeneByGeneProblem
from emodir_tui.problems.genes import keep_vectors_of
from emodir_tui.problems.members import FrontMembers, MembersProblem, combine
from emodir_tui.problems.network import NetworkProblem
from emodir_tui.problems.subnetwork import SubnetworkProblem, unpruned_outputs
from emodir_tui.profile import Profile, load
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.search_loop import first_state
from emodir_tui.training.losses import cross_entropy

HELD_OUT = 1000
# Images of the search split that no sub-network search uses: sub-network fronts are judged on them, and joint schemes are
# searched on them. The images after these are for sub-network searches.
SEEN = HELD_OUT + 1000
Masks = np.ndarray
ERRORS_ALONE = ["search.impairment=features", "joint.impairment=features", "joint.capacity=0"]

# Differences from the default: descent, guided parents, images, population, operators. `few` is the number of images in the
# first half of the time; then the front is measured again on all.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "no descent": {"descent": False},
    "no guided children": {"guided": 0},
    "neither": {"descent": False, "guided": 0},
    "125 images": {"images": 125},
    "1000 images": {"images": 1000},
    "125, then 500 images": {"few": 125},
    "population 24": {"population": 24},
    "population 96": {"population": 96},
    "no crossover": {"variation": Variation(exchange=0.0, uniform=0.0)},
    "flips only": {
        "variation": Variation(flip=1.0, swap=0.0, grow=0.0, shrink=0.0, branch=0.0),
        "descent": False,
        "guided": 0,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    # Fronts are searched and measured by feature errors alone.
    profile = load(Path(arguments.profile), [*arguments.overrides, *ERRORS_ALONE])
    out = arguments.out or Path(__file__).parent / "results" / f"ablation-{profile.name}.json"
    made = made_on("pymoo", "numpy", device=profile.device, threads=profile.hardware.threads)
    about = {"network": profile.name, "seconds": arguments.seconds, **made}
    rows: list[dict[str, Any]] = []
    if out.exists():
        known = json.loads(out.read_text())
        if known["about"] != about:
            sys.exit(f"{out} holds measurements of another commit, time or machine; give another --out, or remove it")
        rows = known["rows"]
    for seed in arguments.seeds:
        done = {row["variant"] for row in rows if row["seed"] == seed}
        if done.issuperset(arguments.variants):
            continue
        rows = [row for row in rows if row["seed"] != seed]
        lab = Lab(profile, seed)
        fronts = {}
        for variant in arguments.variants:
            for part in lab.division.subnetworks:
                masks, row = lab.subnetwork(part, arguments.seconds, **VARIANTS[variant])
                rows.append({"seed": seed, "variant": variant, "search": part.name, **row})
                print(json.dumps(rows[-1]), flush=True)
                if variant == "default":
                    fronts[part.name] = masks
        for variant, row in lab.joint(fronts, arguments.seconds).items():
            rows.append({"seed": seed, "variant": variant, "search": "joint", **row})
            print(json.dumps(rows[-1]), flush=True)
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps({"about": about, "rows": rows}, indent=1))


class Lab:
    """One seed's network, division and importances."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self.profile = profile.model_copy(update={"seed": seed})
        configure_torch(self.profile, choose_device(self.profile.device))
        self.bench: Bench = open_bench(self.profile)
        self.graph = self.bench.architecture
        self.division = divide_network(self.graph)
        self.importance = taylor(self.graph, self.bench.batches(self.bench.data.search, 500, 125), cross_entropy)

    def problem(self, part: SubnetworkSpan, skip: int, images: int) -> SubnetworkProblem:
        """A sub-network on these images of the search split."""
        inputs = [pixels for pixels, _ in self.bench.data.search.first(skip + images).batches(125)][skip // 125 :]
        for other in self.division.subnetworks:
            outputs = unpruned_outputs(self.bench, self.graph, other, inputs)
            if other is part:
                break
            inputs = outputs
        return SubnetworkProblem(
            bench=self.bench,
            original=self.graph,
            graph=self.graph,
            part=part,
            importance=self.importance,
            complexity_model=self.bench.complexity(),
            inputs=inputs,
            outputs=outputs,
        )

    def subnetwork(
        self, part: SubnetworkSpan, seconds: float, *, descent: bool = True, guided: int = 3, images: int = 500,
        few: int = 0, population: int = 48, variation: Variation | None = None,
    ) -> tuple[Masks, dict[str, Any]]:  # fmt: skip
        """One search: its front, and the hypervolume on held-out images."""
        problem, held_out = self.problem(part, HELD_OUT, images), self.problem(part, 0, HELD_OUT)
        first = self.problem(part, HELD_OUT, few) if few else problem
        seed = problem.search().seed
        nsga2 = GuidedNsga2(
            problem.genome, problem, population=population, seed=seed, parents=guided, variation=variation
        )
        began = time.perf_counter()

        def search(state: SearchState, problem: SubnetworkProblem, until: float) -> SearchState:
            while time.perf_counter() - began < until:
                children = nsga2.ask(state)
                state = nsga2.tell(state, children, problem.objectives(children))
            return state

        state = nsga2.begin_with_descent(first.objectives) if descent else first_state(nsga2, first.objectives)
        state = search(state, first, seconds / 2 if few else seconds)
        evaluations = len(state.seen)
        if few:
            # Not the draws of the first half again.
            nsga2.seed = derive_seed(seed, "all images")
            again = first_state(nsga2, problem.objectives, state.seen[nsga2.front(state)])
            state = search(again, problem, seconds)
            evaluations += len(state.seen)
        masks = state.seen[nsga2.front(state)]
        points = held_out.objectives(masks)
        reference = (1.0, float(held_out.objectives(problem.genome.emptiest[None])[0, 1]))
        return masks, {"hypervolume": hypervolume(points, reference), "evaluations": evaluations}

    def joint(self, fronts: dict[str, Masks], seconds: float) -> dict[str, dict[str, Any]]:
        """The joint step from the same fronts, with different first schemes, and with half of the time for polishing."""
        network = network_problem(self.bench, self.division, 500)
        judge = Judge(self.bench, self.division)
        members = [
            FrontMembers(
                name=part.name,
                keep_vectors=keep_vectors_of(self.graph, part.groups, fronts[part.name]),
                local_impairments=np.zeros(0),
            )
            for part in self.division.subnetworks
        ]
        problem = MembersProblem(network=network, members=members)
        walkable = [
            (1 - network.complexity(front.keep_vectors), network.feature_errors(front.keep_vectors))
            for front in members
        ]
        # Schemes of equal positions in all fronts.
        shares = np.linspace(0.0, 1.0, 48)[:, None]
        uniform = np.rint(shares * (np.array([len(front.keep_vectors) for front in members]) - 1)).astype(np.int64)
        found = {}
        for variant, walk, extra, polish in (
            ("GPIR walk, polished", 0.75, None, True),
            ("GPIR walk", 0.75, None, False),
            ("uniform seeding", 0.0, uniform, False),
            ("random seeding", 0.0, None, False),
        ):
            space = PositionSpace(walkable, JointVariation(walk=walk))
            nsga2 = Nsga2(space, population=48, seed=self.profile.seed)
            began = time.perf_counter()
            state = first_state(nsga2, problem.objectives, extra)
            while time.perf_counter() - began < seconds * (0.5 if polish else 1.0):
                children = nsga2.ask(state)
                state = nsga2.tell(state, children, problem.objectives(children))
            keep_vectors = combine(members, state.seen[nsga2.front(state)])
            evaluations = len(state.seen)
            if polish:
                keep_vectors, more = self.polished(network, keep_vectors, seconds / 2)
                evaluations += more
            found[variant] = {**judge(keep_vectors), "evaluations": evaluations}
        return found

    def polished(self, network: NetworkProblem, keep_vectors: np.ndarray, seconds: float) -> tuple[np.ndarray, int]:
        """The schemes after a further search gene by gene."""
        problem = GeneByGeneProblem(network, self.importance)
        nsga2 = problem.search(self.profile.seed, GUIDED_PARENTS)
        began = time.perf_counter()
        first = keep_vectors[:, problem.genes]
        state = nsga2.begin(first, problem.objectives(first))
        while time.perf_counter() - began < seconds:
            children = nsga2.ask(state)
            state = nsga2.tell(state, children, problem.objectives(children))
        return problem.keep_vectors(state.seen[nsga2.front(state)]), len(state.seen)


def network_problem(bench: Bench, division: Division, images: int) -> NetworkProblem:
    """The whole network on images of the search split."""
    graph = bench.architecture
    batches = bench.batches(bench.data.search, images, 125)
    return NetworkProblem(bench, graph, graph, division, bench.complexity(), batches)


class Judge:
    """Measures joint fronts on images that no search saw."""

    def __init__(self, bench: Bench, division: Division) -> None:
        rest = replace(bench, data=replace(bench.data, search=held_out(bench.data.search, SEEN)))
        # Not `rest.architecture`, which may have other random weights.
        batches = rest.batches(rest.data.search, 2000, 125)
        graph = bench.architecture
        self.network = NetworkProblem(rest, graph, graph, division, bench.complexity(), batches)

    def __call__(self, keep_vectors: np.ndarray) -> dict[str, Any]:
        points = self.network.objectives(keep_vectors)
        complexity, errors = points.T
        row: dict[str, Any] = {"hypervolume": hypervolume(points, (1.0, 1.0))}
        front = non_dominated(points)
        for level in (0.5, 0.3):
            at = front[complexity[front] <= level][-1]
            row[f"error_{level}"] = float(errors[at])
            row[f"accuracy_{level}"] = self.network.global_impairments(keep_vectors[[at]])[0].accuracy
        return row


if __name__ == "__main__":
    main()
