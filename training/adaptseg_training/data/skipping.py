"""What happened to files that could not be read while --source.skip-unreadable or --target.skip-unreadable is set."""

from collections import Counter
from collections.abc import Callable

from adaptseg_training.config import TrainConfig
from adaptseg_training.errors import DataError


class Skips:
    """Names each unreadable file once, through `say`, and counts how often another sample took its place.

    It knows what this process has seen: after a resume it counts from the resumed step. Rank 0 hears of every rank's.
    """

    def __init__(self, config: TrainConfig, say: Callable[[str], None]) -> None:
        self._on = config.source.skip_unreadable or (config.target is not None and config.target.skip_unreadable)
        self._say = say
        self._times: Counter[str] = Counter()
        self._logged = 0

    def add(self, error: DataError) -> None:
        """One sample was skipped because of `error`."""
        reason = str(error)
        self._times[reason] += 1
        if self._times[reason] == 1:
            self._say(f"skipped: {reason}")

    def scalars(self) -> dict[str, float]:
        """{"skipped": samples since the last call}; nothing where no domain skips."""
        before, self._logged = self._logged, self._times.total()
        return {"skipped": float(self._logged - before)} if self._on else {}

    def summary(self) -> str:
        """One sentence for the end of the run; empty if nothing was skipped."""
        if not self._times:
            return ""
        times, files = self._times.total(), len(self._times)
        return (
            f"{times} samples were skipped: {files} unreadable file{'s' if files > 1 else ''}, another sample took "
            "their place each time. adaptseg-data check lists what to mend."
        )
