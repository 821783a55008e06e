"""Made-up streets: labelled frames from a seed, to train on where no labelled road is at hand. No torch here."""

from adaptseg_training.data.streets.looks import LOOKS
from adaptseg_training.data.streets.render import render_street

__all__ = ["LOOKS", "render_street"]
