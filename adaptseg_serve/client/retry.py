"""When to ask again: only where the service says that it is busy, and no sooner than it asks for."""

import random
from dataclasses import dataclass

from adaptseg_serve.errors import Busy


@dataclass(frozen=True)
class Retry:
    """Pauses of `first`, then twice that, and so on up to `longest` seconds, each shortened at random by up to half, on
    top of what the service asks for: clients that were refused together don't come back together."""

    attempts: int = 4
    """Most times a request is sent; 1: never again."""
    first: float = 0.1
    longest: float = 10.0

    def pause(self, attempt: int, busy: Busy, left: float) -> float:
        """Seconds to wait after attempt number `attempt` (from 1) met `busy`.

        left: seconds until the caller's own timeout. Raises `busy` where there is no point in waiting.
        """
        backoff = min(self.longest, self.first * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)
        pause: float = busy.retry_after + backoff
        if attempt >= self.attempts or pause >= left:
            raise busy
        return pause
