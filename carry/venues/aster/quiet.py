"""The stream of a venue that is only read: nothing arrives, nothing is lost, nothing wakes."""

import threading
from collections.abc import Mapping

from carry.core.observations import Event


class QuietStream:
    """Implements `carry.venues.base.Stream`. `poll` waits out its time, or until it is stopped."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def start(self) -> None: ...

    def stop(self) -> None:
        self._stopped.set()

    def drain(self) -> tuple[tuple[Event, ...], tuple[str, ...]]:
        return (), ()

    def poll(self, timeout_s: float) -> bool:
        self._stopped.wait(timeout_s)
        return False

    def received(self) -> int:
        return 0

    def wait_closed(self, timeout_s: float) -> bool:
        return True

    def ages_ms(self, mono_ms: int) -> Mapping[str, int]:
        return {}
