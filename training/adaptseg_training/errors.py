"""What can go wrong while training for a reason a user can mend.

AdaptSegError (adaptseg_serve.errors)
+-- DataError          an image, a label map or a video can't be read; the message names the file
+-- CheckpointError    a checkpoint can't be read, or doesn't fit the config
+-- TrainingError      a run can't go on (a loss that is not a number ...); says which state is saved
+-- StorageError       a file of the run can't be written
+-- StepError          a step can't be done; the state before it is good, and gets saved
    +-- PeerError      because another process of the run is gone
    +-- WorkerDied     because a process that prepares images is
"""

from adaptseg_serve.errors import AdaptSegError


class DataError(AdaptSegError):
    """A file of a data set is missing, unreadable or not what it should be."""


class CheckpointError(AdaptSegError):
    """A checkpoint can't be read or doesn't fit."""


class TrainingError(AdaptSegError):
    """A run can't go on."""


class StorageError(AdaptSegError):
    """A file of the run can't be written: the disk is full, the folder is gone ..."""


class StepError(AdaptSegError):
    """A step can't be done (memory ...); nothing of it has changed a weight."""


class PeerError(StepError):
    """Another process of the run is gone, or did not answer."""


class WorkerDied(StepError):
    """A process that prepares images is gone."""
