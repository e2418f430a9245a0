"""The picks: schemes of the joint front that the profile's rules select, and those that were requested later."""

from collections.abc import Callable
from functools import partial

import numpy as np

from emodir_tui.bench import Bench, keep_all
from emodir_tui.emo.front import knee
from emodir_tui.errors import EmodirError
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.measures.latency import measure
from emodir_tui.nets.removal import remove
from emodir_tui.profile import parse_rule
from emodir_tui.results import JointFront, Pick, SelectedPicks
from emodir_tui.runs.names import Complexity, StageName, result_name
from emodir_tui.runs.picks import drop_pick, extra_picks
from emodir_tui.runs.run import Run

# The rule of a pick that was requested by its number.
REQUESTED = "asked for"


def select_picks(run: Run, bench: Bench, front: JointFront) -> list[Pick]:
    """The schemes that the profile's rules select, then the requested ones; each scheme once.

    The selection of the rules is kept: latencies vary, and a resumed run, or one with a further pick, must not select
    others.

    Raises:
        EmodirError: No rule can be satisfied, and nothing was requested.
    """
    by_rules = run.part(result_name(StageName.REALISE, "rules"), SelectedPicks, partial(_by_rules, run, bench, front))
    picks = {pick.scheme: pick for pick in by_rules.picks}
    for scheme in extra_picks(run.directory):
        if not 0 <= scheme < len(front.keep_vectors):
            run.log(f"there is no scheme {scheme} in the joint front; it is left out", "warning", StageName.REALISE)
            drop_pick(run.directory, scheme)
        elif scheme not in picks:
            picks[scheme] = _pick(front, scheme, REQUESTED, f"scheme-{scheme}")
    return list(picks.values())


def pick_name(rule: str) -> str:
    """The name of the pick of a rule."""
    return rule.replace("=", "-")


def _by_rules(run: Run, bench: Bench, front: JointFront) -> SelectedPicks:
    picks: dict[int, Pick] = {}
    for rule in bench.profile.pick.rules:
        scheme = _by_rule(bench, front, rule)
        if scheme is None:
            run.log(
                f"no scheme of the joint front satisfies pick rule '{rule}'; it is left out",
                "warning",
                StageName.REALISE,
            )
        elif scheme in picks:
            run.log(f"pick rule '{rule}' chooses the same scheme as '{picks[scheme].rule}'", stage=StageName.REALISE)
        else:
            picks[scheme] = _pick(front, scheme, rule, pick_name(rule))
    if not picks and not extra_picks(run.directory):
        raise EmodirError(
            "no pick rule can be satisfied by any scheme of the joint front",
            "Loosen pick.rules, or search longer; 'knee' can always be satisfied.",
        )
    return SelectedPicks(picks=list(picks.values()))


def _pick(front: JointFront, scheme: int, rule: str, name: str) -> Pick:
    return Pick(name=name, rule=rule, scheme=scheme, complexity=float(front.objectives[scheme, 0]))


def _by_rule(bench: Bench, front: JointFront, rule: str) -> int | None:
    name, limit = parse_rule(rule)
    if name == "knee":
        return int(knee(front.objectives))
    if name == "max_accuracy_drop":
        fitting = np.flatnonzero(front.original_accuracy - front.accuracies <= limit)
        return int(fitting[np.argmin(front.objectives[fitting, 0])]) if len(fitting) else None
    measure_scheme = _measure(bench, front, name)
    by_impairment = np.argsort(front.objectives[:, 1], kind="stable")
    # By rising impairment: the first scheme within the budget is the best one.
    return next((int(scheme) for scheme in by_impairment if measure_scheme(int(scheme)) <= limit), None)


def _measure(bench: Bench, front: JointFront, name: str) -> Callable[[int], float]:
    # Weights do not matter to any rule.
    graph = bench.architecture
    if name == "max_latency_ms":
        example = bench.latency_example
        return lambda scheme: measure(remove(graph, front.keep_vectors[scheme], statistics="batch").eval(), example)
    model = ComplexityModel(graph, Complexity.MACS if name == "max_macs" else Complexity.PARAMS)
    shares = model.measure(front.keep_vectors) / float(model.measure(keep_all(graph))[0])
    return lambda scheme: float(shares[scheme])
