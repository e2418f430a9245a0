"""Step 2: divide the network at its cut points into sub-networks of balanced complexity."""

from emodir_tui.bench import Bench
from emodir_tui.nets.division import Division, divide_network
from emodir_tui.results import Parts
from emodir_tui.runs.event_types import Group, NetworkDivided, Part, ProtectedPlace
from emodir_tui.runs.names import StageName
from emodir_tui.runs.run import Run, step


@step(StageName.DIVIDE, Parts)
def divide(run: Run, bench: Bench) -> Parts:
    """Choose the cuts; report the sub-networks, their channel groups and what is protected."""
    settings = bench.profile.divide
    graph = bench.architecture
    division = divide_network(graph, subnetworks=settings.subnetworks or None, cuts=settings.cuts or None)
    subnetworks = division.subnetworks
    run.emit(
        NetworkDivided(
            subnetworks=tuple(_describe(bench, division, index) for index in range(len(subnetworks))),
            protected=tuple(
                ProtectedPlace(place=place.place, channels=place.channels, reason=place.reason)
                for place in graph.protected
            ),
        )
    )
    return Parts(
        cuts=tuple(part.stop.name for part in subnetworks if part.stop is not None),
        names=tuple(part.name for part in subnetworks),
    )


def _describe(bench: Bench, division: Division, index: int) -> Part:
    part = division.subnetworks[index]
    groups = [bench.architecture.groups[number] for number in part.groups]
    kinds = [division.kinds[number] for number in part.groups]
    return Part(
        name=part.name,
        layers=tuple(part.layers),
        groups=tuple(
            Group(name=group.name, channels=(group.stop - group.start) * group.channels_per_gene, kind=kind)
            for group, kind in zip(groups, kinds, strict=True)
        ),
        channels=sum((group.stop - group.start) * group.channels_per_gene for group in groups),
        macs=part.macs,
        share=part.share,
    )
