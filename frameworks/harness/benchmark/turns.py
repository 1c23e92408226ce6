"""A contender's turns in a race: it waits for each by reading from whoever runs the race, and tells what it took."""

from __future__ import annotations

import os

from shared_spec.race import rows
from shared_spec.race.rows import Ready, Took


class Turns:
    """The contender's ends of two pipes."""

    def __init__(self, reads: int, writes: int, *, planned: int) -> None:
        self._reads, self._writes, self.planned = reads, writes, planned

    def ready(self) -> None:
        """Tell that the first turn may come."""
        os.write(self._writes, rows.encode(Ready()))

    def wait(self) -> bool:
        """Until it is its turn; or that there is none any more, which a pipe that was closed says too."""
        return os.read(self._reads, 1) == rows.GO

    def tell(self, seconds: float) -> None:
        """Seconds of a call in the turn that is over."""
        os.write(self._writes, rows.encode(Took(seconds)))
