"""The table of measured latencies, where latency is what a mask is to reduce. Measured once a run and kept with it."""

from emodir_tui.bench import Bench, latency_example
from emodir_tui.nets.measures.latency import LatencyTable, measure_table
from emodir_tui.results import Original
from emodir_tui.runs.run import Run
from emodir_tui.seeds import derive_seed


def use_latencies(run: Run, bench: Bench, original: Original) -> None:
    """Give the bench the run's table, measured now or by an earlier attempt: its numbers decide the fronts."""
    if bench.profile.complexity.kind != "latency":
        return
    graph = bench.graph(original.weights)
    seed = derive_seed(bench.profile.seed, "latency")
    new = not run.has_part("latencies")
    bench.latencies = run.part("latencies", LatencyTable, lambda: measure_table(graph, latency_example(bench), seed))
    if new:
        run.log(
            f"latency of each layer measured at several widths; on whole pruned networks the estimate is off by "
            f"{100 * bench.latencies.error:.0f} % on average"
        )
