"""The six panels of the main screen: number, titles and hint of each, declared once for keys, tabs and widgets."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PanelSpec:
    """A panel. `name` stands in the key table, `title` above the panel, `tab` in the narrow layout."""

    number: int
    name: str
    tab: str
    hint: str
    title: str = ""

    @property
    def heading(self) -> str:
        """Number and title, as they stand above the panel."""
        return f"{self.number} {self.title or self.name}"


SUBNETWORKS = PanelSpec(
    number=1, name="Sub-networks", tab="Subnets", hint="Enter details · the cursor selects the front in panel 4"
)
HYPERVOLUME = PanelSpec(
    number=2,
    name="Hypervolume",
    tab="HV",
    hint="one curve per sub-network in the colours of panel 1, and one for the joint search",
)
RANKING = PanelSpec(
    number=3,
    name="Ranking",
    title="Ranking · GPIR",
    tab="Ranking",
    hint="Enter details · o sort · / filter (sn3, joint, level0 …)",
)
FRONT = PanelSpec(
    number=4, name="Front", tab="Front", hint="← → select a point · Enter details · [ ] other front · L logarithmic"
)
CHECKPOINTS = PanelSpec(number=5, name="Checkpoints", tab="Ckpts", hint="Enter details and resume")
LOG = PanelSpec(
    number=6,
    name="Log",
    tab="Log",
    hint="Enter full line · / filter · v level · End follow · l worker's log",
)

PANELS = (SUBNETWORKS, HYPERVOLUME, RANKING, FRONT, CHECKPOINTS, LOG)
