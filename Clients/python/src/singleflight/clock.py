"""What is known of the server's clock, and this process's own."""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds on a clock that counts the time for which the machine was suspended."""
    return time.clock_gettime(_CLOCK)


class ServerClock:
    """By how much the server's clock is ahead of `now()`, as an interval: no request may be carried out too late."""

    def __init__(self) -> None:
        self._least = self._greatest = 0.0
        self._learned: float | None = None

    def learn(self, told: float, unit: float, sent: float, arrived: float) -> None:
        """The server said that it was `told`, in steps of `unit`, between `sent` and `arrived`. All in seconds."""
        least, greatest = told - arrived, told + unit - sent
        if self._learned is not None:
            slack = (arrived - self._learned) / 1000
            if least <= self._greatest + slack and greatest >= self._least - slack:
                least, greatest = max(least, self._least - slack), min(greatest, self._greatest + slack)
        self._least, self._greatest, self._learned = least, greatest, arrived

    def not_after(self, deadline: float) -> int:
        """The server's time in milliseconds at the deadline, rather too late than too early; 0 while it is not known."""
        return 0 if self._learned is None else int((deadline + self._greatest) * 1000) + 1
