"""`Group.run`: one flight of a key at a time, wherever its callers are."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from . import wire
from .circles import around, refuse_circles
from .clock import now
from .errors import LeaseLost
from .flight import Flight
from .store import Store, repeat
from .wire import Key, Name


@dataclass(frozen=True)
class Settings:
    """All times in seconds. docs/protocol.md says what happens where those of a namespace differ."""

    lease: float = 10
    grace: float = 10
    retention: float = 10
    permitted_takeovers: int = 0
    reuse: float = 0
    longest: float = 300
    maximum_bytes: int = 8 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("lease", "grace", "retention"):
            if not 0.1 <= getattr(self, name) <= 86400:
                raise ValueError(f"{name} is {getattr(self, name)} s, not 100 ms to 24 h")
        if not 0 <= self.reuse <= 86400:
            raise ValueError(f"reuse is {self.reuse} s, not 0 to 24 h")
        if not 0 <= self.permitted_takeovers <= 999:
            raise ValueError(f"permitted_takeovers is {self.permitted_takeovers}, not 0 to 999")
        if self.longest <= 0 or self.maximum_bytes <= 0:
            raise ValueError("longest and maximum_bytes are more than 0")

    @property
    def delay(self) -> float:
        """The most by which a follower's question comes behind the lease's end, at random."""
        return min(self.lease / 10, 0.5)


class Group:
    """A name for operations of one kind: groups of one name share flights, in every process of the namespace.

    In one process, one `Group` per name.
    """

    def __init__(self, store: Store, name: str, settings: Settings = Settings()) -> None:
        if settings.lease < 3 * store.timeout:
            raise ValueError("a lease has at least three command timeouts")
        self.store, self.name, self.settings = store, name, settings
        self._flights: dict[bytes, Flight] = {}

    async def run(self, key: Key, operation: Callable[[], Awaitable[Any]]) -> Any:
        """The operation's value, which has to be JSON, from whichever process runs it. Raises what is in `errors`.

        The operation is canceled when no caller waits any more, in any process, and when its lease is lost.
        """
        name = Name(self.store.namespace, self.name, wire.key_bytes(key))
        flight = self._flights.get(name.key)
        started = flight is None
        if flight is None:
            flight = Flight(self.store, self.settings, name, operation, lambda: self._flights.pop(name.key))
            self._flights[name.key] = flight
        flight.callers += 1
        try:
            await refuse_circles(self.store, flight, started=started)
            return await asyncio.shield(flight.task)
        finally:
            flight.callers -= 1
            if not flight.callers:
                flight.leave()

    async def close(self) -> None:
        """Gives back what this process leads; others take over where that is permitted. Callers get `Canceled`."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.close()
        await asyncio.gather(*(flight.task for flight in flights), return_exceptions=True)


async def fence() -> int:
    """Inside an operation: a number greater than that of any earlier leader of the key, for what must not be written late."""
    flight = around.get()[-1]
    store, partition, keys = flight.store, flight.name.partition, [flight.name.of("lease"), flight.name.fence]
    known = store.fences.get(partition, 0)
    answer = await repeat(now() + store.timeout, lambda: store.ask("fence", keys, flight.token, known))
    if answer[0] == "LOST":
        raise LeaseLost("the lease is over")
    store.fences[partition] = max(store.fences.get(partition, 0), int(answer[1]))
    return int(answer[1])
