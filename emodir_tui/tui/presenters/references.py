"""References to the items behind rows and points; the details screen looks them up in the state."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """`kind`: subnetwork, member (name: its sub-network), row (number: rank), scheme, checkpoint or line (name: text)."""

    kind: str
    name: str = ""
    number: int = -1
