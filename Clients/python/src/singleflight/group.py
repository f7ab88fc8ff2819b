"""`Group.run`: one flight of a key at a time, wherever its callers are."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from . import wire
from .circles import around, refuse_circles
from .clock import now
from .errors import DecodingFailed, LeaseLost
from .flight import Flight
from .store import Store, repeat
from .stream import Reader, StreamWriter
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
    stream_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("lease", "grace", "retention"):
            if not 0.1 <= getattr(self, name) <= 86400:
                raise ValueError(f"{name} is {getattr(self, name)} s, not 100 ms to 24 h")
        if not 0 <= self.reuse <= 86400:
            raise ValueError(f"reuse is {self.reuse} s, not 0 to 24 h")
        if not 0 <= self.permitted_takeovers <= 999:
            raise ValueError(f"permitted_takeovers is {self.permitted_takeovers}, not 0 to 999")
        if min(self.longest, self.maximum_bytes, self.stream_bytes) <= 0:
            raise ValueError("longest, maximum_bytes and stream_bytes are more than 0")

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
        flight, started = self._join(self._named(key), operation, streams=False)
        try:
            return await self._outcome(flight, started)
        finally:
            self._leave(flight)

    def stream(self, key: Key, operation: Callable[[StreamWriter], Awaitable[None]]) -> AsyncGenerator[Any, None]:
        """The parts that the operation writes, from whichever process runs it: all of them, from the first, in order.

        A part has to be JSON. The caller waits for the flight from the first part that it asks for until the last, or until the
        iterator is closed, or dropped. What ends the stream otherwise is raised behind the parts that came before it: what is in
        `errors`, `StreamRestarted` if another leader begins anew. A key that streams here must be no key of `run`.
        """
        return self._parts(self._named(key), operation)

    async def _parts(self, name: Name, operation: Callable[[StreamWriter], Awaitable[None]]) -> AsyncGenerator[Any, None]:
        flight, started = self._join(name, operation, streams=True)
        reader = Reader(flight, asyncio.create_task(self._outcome(flight, started)))
        try:
            while (part := await reader.next()) is not None:
                yield wire.decode_json(part)
        finally:
            reader.close()
            self._leave(flight)

    def _named(self, key: Key) -> Name:
        return Name(self.store.namespace, self.name, wire.key_bytes(key))

    def _join(self, name: Name, operation: Callable[..., Awaitable[Any]], *, streams: bool) -> tuple[Flight, bool]:
        """The flight, with one more caller, and whether it was started."""
        flight = self._flights.get(name.key)
        started = flight is None
        if flight is None:
            flight = Flight(self.store, self.settings, name, operation, lambda: self._flights.pop(name.key), streams=streams)
            self._flights[name.key] = flight
        elif flight.streams != streams:
            raise DecodingFailed("one caller has it for a stream, and another for a value")
        flight.callers += 1
        return flight, started

    async def _outcome(self, flight: Flight, started: bool) -> Any:
        await refuse_circles(self.store, flight, started=started)
        return await asyncio.shield(flight.task)

    def _leave(self, flight: Flight) -> None:
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
