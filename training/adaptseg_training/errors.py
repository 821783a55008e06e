"""What can go wrong while training for a reason a user can mend.

AdaptSegError (adaptseg_serve.errors)
+-- DataError          an image, a label map or a video can't be read; the message names the file
+-- CheckpointError    a checkpoint can't be read, or doesn't fit the config
+-- TrainingError      a run can't go on (a loss that is not a number ...)
"""

from adaptseg_serve.errors import AdaptSegError


class DataError(AdaptSegError):
    """A file of a data set is missing, unreadable or not what it should be."""


class CheckpointError(AdaptSegError):
    """A checkpoint can't be read or doesn't fit."""


class TrainingError(AdaptSegError):
    """A run can't go on."""
