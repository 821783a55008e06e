"""Made-up streets: labelled frames from a seed, to train on where no labelled road is at hand. No torch here."""

from adaptseg_training.data.streets.looks import LOOKS
from adaptseg_training.data.streets.render import LEAST_SIDE, render_street

__all__ = ["LEAST_SIDE", "LOOKS", "render_street"]
