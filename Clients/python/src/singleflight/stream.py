"""Results in parts: what an operation writes is stored under its flight's token, and read by everybody from there."""

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from . import wire
from .clock import now
from .errors import GroupFailed, Refused, SingleflightError, StreamRestarted, Unavailable
from .store import NotYet, OutOfMemory, Unknown, repeat
from .wire import Frames, StreamEnd

if TYPE_CHECKING:
    from .flight import Flight

# The longest chunk, and how much may be written and not be stored yet.
CHUNK, WINDOW = 256 * 1024, 1024 * 1024
# Behind the end of every stream: a request from there only has the chunks kept.
_BEHIND = 2**53 - 1


class StreamWriter:
    """What the operation of a stream writes to."""

    def __init__(self, flight: "Flight", token: str) -> None:
        self._flight, self._token, self._label = flight, token, flight.store.label
        # What is written and not stored yet, and what was written and stored so far.
        self._pending, self._chunks, self._parts, self._bytes = bytearray(), 0, 0, 0
        self._turn, self._news, self._room = asyncio.Lock(), asyncio.Event(), asyncio.Event()
        self._finished = False
        self._failure: Exception | None = None

    async def write(self, part: Any) -> None:
        """Writes one more part, which has to be JSON. Waits while more than a window of bytes is not stored yet.

        After an error but `CancelledError` the stream takes no more parts, and fails for everybody.
        """
        async with self._turn:
            while len(self._pending) > WINDOW and not self._failure:
                self._room.clear()
                await self._room.wait()
            if self._finished:
                raise RuntimeError("the stream has ended")
            if not self._failure:
                self._add(part)
            if self._failure:
                raise self._failure
        self._news.set()

    def _add(self, part: Any) -> None:
        settings = self._flight.settings
        try:
            encoded = wire.encode_json(part)
        except (TypeError, ValueError, RecursionError) as error:
            self._fail(GroupFailed("encodingFailed", str(error), self._label))
            return
        frame = wire.frame(encoded)
        if len(encoded) > settings.maximum_bytes:
            self._fail(GroupFailed("resultTooLarge", f"a part of {len(encoded)} bytes", self._label))
        elif self._bytes + len(frame) > settings.stream_bytes:
            self._fail(GroupFailed("streamTooLong", f"more than {settings.stream_bytes} bytes", self._label))
        else:
            self._pending += frame
            self._parts, self._bytes = self._parts + 1, self._bytes + len(frame)

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._room.set()

    async def _finish(self) -> None:
        """No more parts come than those whose turn it is already."""
        async with self._turn:
            self._finished = True
        self._news.set()

    @property
    def _end(self) -> StreamEnd:
        return StreamEnd(self._chunks, self._parts, self._bytes, self._label)

    async def _store(self) -> None:
        """Stores what is written, one chunk after the other, until no more comes."""
        try:
            while self._pending or not self._finished:
                chunk = bytes(self._pending[:CHUNK])
                if not chunk:
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._flight.settings.lease if self._chunks else None):
                            await self._news.wait()
                        continue
                    # Nothing for a lease: an empty chunk has those before it kept.
                await self._append(chunk)
        except Exception as error:
            self._fail(error)

    async def _append(self, chunk: bytes) -> None:
        flight, settings, token = self._flight, self._flight.settings, self._token
        keys = [flight.name.of("lease"), flight.name.of("wait"), flight.name.of("done", token), flight.name.of("chunks", token)]
        life = 2 * settings.lease + settings.grace + max(flight.retention, settings.reuse)
        try:
            # As long as it takes: the flight ends when its lease does.
            answer = await repeat(
                math.inf,
                lambda: flight.store.ask(
                    "append", keys, token, self._chunks, chunk, round(life * 1000), timeout=settings.lease / 3
                ),
            )
        except OutOfMemory as error:
            if chunk:
                raise GroupFailed("storeFull", str(error), self._label) from error
            return
        if answer[0] == "LOST":
            raise wire.lost(answer[1] if len(answer) > 1 else b"")
        if answer[0] == "BROKEN":
            raise GroupFailed("streamLost", f"of {self._chunks} chunks {int(answer[1])} are left", self._label)
        if chunk:
            flight.stored(token, self._chunks, chunk)
            self._chunks += 1
            del self._pending[: len(chunk)]
            self._room.set()


async def write(
    flight: "Flight", token: str, operation: Callable[[StreamWriter], Awaitable[None]]
) -> StreamEnd | SingleflightError:
    """Runs the operation, and stores what it wrote before its end is told. Returns what is wrong with the stream itself."""
    writer, failure = StreamWriter(flight, token), None
    storing = asyncio.ensure_future(writer._store())
    try:
        try:
            await operation(writer)
        except Exception as error:
            failure = error
        await writer._finish()
        await storing
    finally:
        storing.cancel()
    if isinstance(writer._failure, SingleflightError) and not isinstance(writer._failure, Refused):
        return writer._failure
    if wrong := failure or writer._failure:
        raise wrong
    return writer._end


class Reader:
    """One caller's place in a stream. Holds no more than the chunks of one answer, and asks only when a part is wanted."""

    def __init__(self, flight: "Flight", outcome: "asyncio.Task[StreamEnd]") -> None:
        self._flight, self._outcome, self._token = flight, outcome, ""
        self._keeping: asyncio.Task[None] | None = None
        # The chunks that were taken, those known to be stored, and the parts that were given.
        self._place = self._stored = self._given = 0
        # Whether Redis was asked since news may have been missed; whether it had no more after the flight's end; whether a part is
        # wanted, and nothing is known that could be read.
        self._looked = self._drained = self._waits = False
        self._frames, self._news = Frames(), asyncio.Event()
        self._delay, self._failing_since = 0.05, math.inf
        flight.readers.add(self)
        outcome.add_done_callback(self._ended)

    def close(self) -> None:
        self._flight.readers.discard(self)
        self._outcome.cancel()
        if self._keeping:
            self._keeping.cancel()

    # What the flight tells

    def stands(self) -> None:
        """The flight has a token, maybe another one."""
        self._news.set()

    def look(self) -> None:
        """News may have been missed."""
        self._looked = False
        self._news.set()

    def stored(self, token: str, index: int, chunk: bytes) -> None:
        if token != self._token:
            return
        self._stored = max(self._stored, index + 1)
        if self._waits and chunk and index == self._place:
            self._frames.append(chunk)
            self._place += 1
            self._waits = not self._frames.has_next
        self._news.set()

    def _ended(self, outcome: "asyncio.Task[StreamEnd]") -> None:
        if not outcome.cancelled():
            outcome.exception()
            if self in self._flight.readers:
                self._keeping = asyncio.ensure_future(self._keep())
        self._news.set()

    async def _keep(self) -> None:
        """Sees to it that what an ended stream holds is kept until it is read."""
        while self._token and not self._is_read():
            await asyncio.sleep(self._flight.retention / 3)
            with contextlib.suppress(Unknown, NotYet, Refused):
                await self._ask(_BEHIND, 0)

    # Reading

    async def next(self) -> bytes | None:
        """The next part; None after the last one."""
        while True:
            if self._flight.token != self._token:
                if self._given:
                    raise StreamRestarted
                self._token, self._place, self._stored, self._frames = self._flight.token, 0, 0, Frames()
                self._looked = self._drained = False
            part = self._frames.take()
            if part is not None:
                self._given += 1
                return part
            ended = self._outcome.done()
            if ended and (self._is_read() or not self._token):
                self._check_end()
                return None
            if self._token and (ended or self._place < self._stored or not self._looked):
                await self._read(ended)
            else:
                await self._wait()

    def _is_read(self) -> bool:
        """Whether no more chunks are to be had of an ended stream."""
        return self._drained or (not self._outcome.exception() and self._place >= self._outcome.result().chunks)

    def _check_end(self) -> None:
        """Raises how the flight ended, and if parts are missing."""
        end = self._outcome.result()
        if self._place != end.chunks or self._given != end.parts or self._frames:
            raise GroupFailed("streamLost", f"of {end.parts} parts {self._given} are left", end.leader)

    async def _wait(self) -> None:
        self._news.clear()
        self._waits = True
        try:
            async with asyncio.timeout(self._flight.settings.lease / 3):
                await self._news.wait()
        except TimeoutError:
            self._looked = False
        finally:
            self._waits = False

    async def _ask(self, place: int, most: int) -> list[Any]:
        flight = self._flight
        life = round(flight.retention * 1000)
        keys = [flight.name.of("chunks", self._token)]
        return await flight.store.ask("read", keys, place, most, life, timeout=flight.settings.lease / 3)

    async def _read(self, ended: bool) -> None:
        known, self._looked = self._stored, True
        try:
            answer = await self._ask(self._place, CHUNK)
        except (Unknown, NotYet, Refused) as error:
            await self._failed(error, ended)
            return
        stored, chunks = int(answer[1]), answer[2:]
        for chunk in chunks:
            self._frames.append(chunk)
        self._place += len(chunks)
        # Fewer than were known: chunks are gone. Their leader finds out, too, and ends the flight.
        self._stored = max(self._place, stored if stored < known else max(stored, self._stored))
        self._drained = ended and stored <= self._place
        self._delay, self._failing_since = 0.05, math.inf

    async def _failed(self, error: Exception, ended: bool) -> None:
        """Waits until it is worth another attempt. Raises how the flight ended instead, if it failed: why is told, then."""
        self._looked, self._failing_since = False, min(self._failing_since, now())
        if isinstance(error, Refused) or (ended and now() - self._failing_since > max(10, 2 * self._flight.store.timeout)):
            if ended:
                self._outcome.result()
            if isinstance(error, Refused):
                raise error
            raise Unavailable(str(error)) from error
        await asyncio.sleep(self._delay * random.uniform(0.5, 1))
        self._delay = min(2 * self._delay, 1)
