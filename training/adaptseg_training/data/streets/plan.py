"""The numbers a layout is drawn up from."""

from dataclasses import dataclass
from typing import Literal

from adaptseg_training.data.streets.scene import Road

Kind = Literal["town", "suburb", "open", "park", "highway"]
KINDS: tuple[Kind, ...] = ("town", "suburb", "open", "park", "highway")


@dataclass(frozen=True)
class Side:
    """hand: -1 left, +1 right; kerb: distance (m) of the road's edge; walk: width of the pavement."""

    hand: int
    kerb: float
    walk: float
    parking: bool

    @property
    def edge(self) -> float:
        """Distance (m) of the pavement's outer edge."""
        return self.kerb + self.walk


@dataclass(frozen=True)
class Plan:
    """`same` lanes run ahead, `own` of them left of the camera's; `oncoming` lie further left (metres: the rest)."""

    kind: Kind
    road: Road
    lane: float
    oncoming: int
    same: int
    own: int
    drift: float
    left: Side
    right: Side
    junction: float | None
    """Where a street crosses (m ahead), if one does."""
    crossing: float
    """How wide that street is."""
    far: float
    """Where the street ends."""
    closed: bool
    """Whether it ends at another street, with houses beyond."""

    def lane_middle(self, lanes_right: int) -> float:
        """Offset (m) of the middle of the lane so many to the right of the camera's (negative: left)."""
        return lanes_right * self.lane + self.drift

    def divider(self, lanes_right: int) -> float:
        """Offset of the line left of that lane."""
        return (lanes_right - 0.5) * self.lane + self.drift
