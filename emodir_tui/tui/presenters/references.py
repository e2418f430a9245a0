"""Subjects: whatever a row or a point stands for, by name; the details screen looks it up in the state."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """`kind`: subnetwork, member (name = its sub-network), row (number = rank), scheme, pick, checkpoint, stage or line."""

    kind: str
    name: str = ""
    number: int = -1
