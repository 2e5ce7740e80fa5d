"""Threads of ops, each watched: one that dies or hangs is an alert by another way."""

import threading
import time
from collections.abc import Callable
from typing import Final

from carry.base.secrets import Redactor, traceback_text

PAUSE_AFTER_ERROR_S: Final = 5.0


class Worker:
    """Calls `once` again and again; it returns how many seconds to wait.

    quiet_s_max: longest time one call may take before it counts as hung.
    """

    def __init__(
        self,
        name: str,
        once: Callable[[], float],
        stop: threading.Event,
        redact: Redactor,
        quiet_s_max: float = 120.0,
    ) -> None:
        self.name, self.quiet_s_max = name, quiet_s_max
        self._once, self._stop, self._redact = once, stop, redact
        self._pulse = time.monotonic()
        self._error = ""
        self._started = False
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ops-{name}", daemon=True)

    def start(self) -> None:
        self._pulse, self._started = time.monotonic(), True
        self._thread.start()

    def wake(self) -> None:
        """Do not wait any longer: there is work."""
        self._woken.set()

    def age_s(self) -> float:
        """Seconds since a call last began or ended."""
        return time.monotonic() - self._pulse

    def problem(self) -> str:
        """What is wrong with it, "" when nothing is."""
        if not self._started:
            return ""
        if not self._thread.is_alive() and not self._stop.is_set():
            return f"the thread {self.name} ended"
        if self.age_s() > self.quiet_s_max:
            return f"the thread {self.name} has hung for {self.age_s():.0f} s"
        return self._error

    def _run(self) -> None:
        while not self._stop.is_set():
            self._pulse = time.monotonic()
            try:
                wait_s = self._once()
                self._error = ""
            except Exception as error:
                last = self._redact(traceback_text(error)).strip().splitlines()[-1]
                self._error, wait_s = f"the thread {self.name}: {last}"[:300], PAUSE_AFTER_ERROR_S
            end = time.monotonic() + wait_s
            while not self._stop.is_set() and not self._woken.is_set():
                self._pulse = time.monotonic()
                left = end - self._pulse
                if left <= 0:
                    break
                self._woken.wait(min(left, 0.5))
            self._woken.clear()
