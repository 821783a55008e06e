"""Side views of cars: outlines as (z, y) metres, rear to front along the top. Averages of each kind, no model."""

from dataclasses import dataclass

Line = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Shape:
    """Half the width; the body below the windows; the glasshouse on it; wheels (z of both, radius)."""

    half_width: float
    body: Line
    """Rear bumper's foot, up and over the shoulder line to the front bumper's foot."""
    cabin: Line
    """Rear foot, rear top, front top, front foot."""
    wheels: tuple[float, float, float]

    @property
    def rear(self) -> float:
        return self.body[0][0]

    @property
    def front(self) -> float:
        return self.body[-1][0]


SHAPES: dict[str, Shape] = {
    "hatchback": Shape(
        0.84,
        ((-1.95, 0.28), (-2.0, 0.6), (-1.9, 0.95), (0.75, 0.93), (1.75, 0.74), (1.95, 0.5), (1.92, 0.26)),
        ((-1.9, 0.93), (-1.55, 1.42), (0.1, 1.45), (0.95, 0.92)),
        (-1.22, 1.25, 0.30),
    ),
    "sedan": Shape(
        0.87,
        (
            (-2.25, 0.3),
            (-2.3, 0.6),
            (-2.2, 0.95),
            (-1.4, 0.98),
            (0.85, 0.94),
            (2.05, 0.76),
            (2.25, 0.5),
            (2.2, 0.26),
        ),
        ((-1.6, 0.97), (-0.95, 1.4), (0.2, 1.42), (1.0, 0.93)),
        (-1.35, 1.4, 0.31),
    ),
    "estate": Shape(
        0.87,
        ((-2.25, 0.3), (-2.3, 0.6), (-2.22, 0.97), (0.85, 0.94), (2.05, 0.76), (2.25, 0.5), (2.2, 0.26)),
        ((-2.2, 0.96), (-1.85, 1.42), (0.2, 1.45), (1.0, 0.93)),
        (-1.35, 1.4, 0.31),
    ),
    "suv": Shape(
        0.91,
        ((-2.15, 0.42), (-2.2, 0.8), (-2.15, 1.1), (0.8, 1.1), (1.95, 0.98), (2.15, 0.65), (2.1, 0.4)),
        ((-2.13, 1.09), (-1.9, 1.7), (0.15, 1.74), (0.95, 1.08)),
        (-1.3, 1.35, 0.37),
    ),
    "van": Shape(
        0.96,
        ((-2.5, 0.35), (-2.52, 0.8), (-2.5, 1.15), (1.5, 1.12), (2.2, 0.98), (2.45, 0.6), (2.4, 0.35)),
        ((-2.5, 1.14), (-2.45, 1.95), (0.95, 1.97), (1.65, 1.1)),
        (-1.6, 1.6, 0.33),
    ),
}
