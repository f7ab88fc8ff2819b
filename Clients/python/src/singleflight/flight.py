"""A flight of this process: it enters, and leads or follows, until it has an outcome that its callers share."""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import stream, wire
from .circles import around
from .clock import now
from .errors import (
    Canceled,
    DecodingFailed,
    GroupFailed,
    LeaseLost,
    OperationFailed,
    Refused,
    Unavailable,
)
from .store import NotYet, OutOfMemory, Store, Unknown, repeat
from .wire import Announcement, Name, StreamEnd

if TYPE_CHECKING:
    from .group import Settings

# An outcome, its letter and its payload. Without one, the flight enters again; the text is the token of the lease that expired.
Step = tuple[tuple[str, bytes] | None, str]
_LEFT, _CLOSED = object(), object()


@dataclass
class _Request:
    """A request to lead: its token, and what is known of its sendings."""

    until: float
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    first_sent: float = 0
    last_sent: float = 0
    sendings: int = 0
    unsure: bool = False
    answered: bool = False


class Flight:
    def __init__(
        self, store: Store, settings: "Settings", name: Name, operation: Callable[..., Awaitable[Any]], ended: Callable[[], Any],
        *, streams: bool = False,
    ) -> None:
        self.store, self.settings, self.name, self.callers = store, settings, name, 0
        # Whether the operation writes a stream; where it lies is up to the token.
        self.streams, self.readers = streams, set[stream.Reader]()
        # The flight's token here or elsewhere, once it is known, and whether this process leads it. `stands` is done when Redis
        # has said how the flight stands, and is another one from then on.
        self.token, self.leads, self.stands = "", False, asyncio.get_running_loop().create_future()
        self._operation, self._ended, self._chain = operation, ended, around.get()
        self._news: asyncio.Queue[Any] = asyncio.Queue()
        self._started_at, self._renewals, self._gone, self._withdrawn = int(time.time() * 1000), 0, 0, 0
        self._failure: BaseException | None = None
        self.task = asyncio.create_task(self._drive())
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())

    # What others tell it

    def hear(self, announcement: Announcement | None) -> None:
        if announcement and announcement.letter == "d":
            if announcement.chunk:
                self.stored(announcement.token, *announcement.chunk)
            return
        if not announcement:
            for reader in self.readers:
                reader.look()
        self._news.put_nowait(announcement)

    def stored(self, token: str, index: int, chunk: bytes) -> None:
        """The flight's stream has one more chunk."""
        for reader in self.readers:
            reader.stored(token, index, chunk)

    def leave(self) -> None:
        """No caller waits any more."""
        self._news.put_nowait(_LEFT)

    def close(self) -> None:
        self._news.put_nowait(_CLOSED)

    async def _next(self, until: float, operation: "asyncio.Task[Any] | None" = None) -> Any:
        """The next news; None if the time is over or the operation has ended before."""
        news = asyncio.ensure_future(self._news.get())
        await asyncio.wait({news, operation} if operation else {news}, timeout=until - now(), return_when=asyncio.FIRST_COMPLETED)
        if news.done():
            return news.result()
        news.cancel()
        return None

    # Requests

    def _keys(self, token: str) -> list[str]:
        return [self.name.of("lease"), self.name.of("wait"), self.name.of("done", token)]

    def _record(self, token: str) -> bytes:
        settings, note = self.settings, {"label": self.store.label, "startedAt": self._started_at, "renewals": self._renewals}
        if "~" == self.name.announced.partition(":")[2][0:1]:
            note["key"] = self.name.key[:1024].decode(errors="replace")
        return wire.record(
            token, self.store.inbox, note, lease=_ms(settings.lease), grace=_ms(settings.grace), retention=_ms(self.retention),
            permitted_takeovers=settings.permitted_takeovers,
        )

    @property
    def retention(self) -> float:
        """How long an outcome is kept: a process that can ask at all is in time."""
        return max(self.settings.retention, self.settings.lease + self.settings.delay + 2 * self.store.timeout)

    async def _poll(self, token: str) -> list[Any]:
        return await repeat(
            now() + self.store.timeout, lambda: self.store.ask("poll", self._keys(token), token, self.store.inbox, "0")
        )

    async def _tell(self, operation: str, token: str, *arguments: str) -> str:
        """Sends a request whose loss does no harm; an empty answer if there was none."""
        keys = self._keys(token)[: 2 if operation == "leave" else 3]
        try:
            return str((await self.store.ask(operation, keys, token, *arguments))[0])
        except (Unknown, NotYet, Refused):
            return ""

    # The way to an outcome

    async def _drive(self) -> Any:
        self.store.listen(self.name, self)
        try:
            outcome, lapsed = None, ""
            while not outcome:
                outcome, lapsed = await self._attempt(lapsed)
            value = wire.result(*outcome)
            if isinstance(value, StreamEnd) != self.streams:
                raise DecodingFailed("one side has it for a stream, and the other for a value")
            return value
        except OperationFailed as failed:
            raise failed from self._failure
        finally:
            self.store.forget(self.name, self)
            self._ended()

    async def _attempt(self, lapsed: str) -> Step:
        request = _Request(now() + self.store.timeout)
        try:
            answer = await self._enter(request, lapsed)
            request.answered = True
            if answer[0] == "DONE":
                letter, payload = answer[2].decode(), answer[3]
                if letter == "s":
                    return await self._follow(payload.decode(), 0)
                self._stands(answer[1].decode(), leads=False)
                return (letter, payload), ""
            leads = answer[0] == "LEAD"
            if lapsed:
                # Somebody else may have ended the flight while this process found it expired.
                found = await self._poll(lapsed)
                if found[0] == "DONE" and found[1] != b"s" and found[1] != b"w":
                    if leads:
                        await self._tell("release", request.token, "w", "")
                    else:
                        await self._tell("leave", answer[1].decode(), self.store.inbox)
                    self._stands(lapsed, leads=False)
                    return (found[1].decode(), found[2]), ""
            return await (self._lead(request) if leads else self._follow(answer[1].decode(), int(answer[2])))
        finally:
            if request.unsure:
                begin = request.until if request.answered else 0
                self.store.hand_back(self.name, request.token, request.sendings, request.last_sent, begin, self.settings.lease)

    async def _enter(self, request: _Request, lapsed: str) -> list[Any]:
        late = False

        async def send() -> list[Any]:
            nonlocal late, lapsed
            while True:
                keys = [*self._keys(request.token), self.name.of("last"), *([self.name.of("done", lapsed)] if lapsed else [])]
                not_after, sent = self.store.clock.not_after(request.until), now()
                request.first_sent, request.last_sent = request.first_sent or sent, sent
                request.sendings += 1
                reuse = "1" if self.settings.reuse else "0"
                # The last argument: a process has one flight of a key here, so that no other one of it waits.
                try:
                    answer = await self.store.ask(
                        "enter", keys, request.token, self._record(request.token), self.store.inbox, reuse, not_after, lapsed, "0"
                    )
                except Unknown:
                    request.unsure = True
                    raise
                if not_after and answer[0] != "DONE":
                    self.store.clock.learn(int(answer[-1]) / 1000, 0.001, sent, now())
                if answer[0] == "EXPIRED":
                    lapsed = answer[1].decode()
                elif answer[0] == "LATE" or (answer[0] == "DONE" and answer[2] == b"w"):
                    if late or now() >= request.until:
                        raise Unavailable("the request came too late")
                    late = True
                else:
                    return answer

        return await repeat(request.until, send)

    # Following

    async def _follow(self, token: str, left: int) -> Step:
        self._stands(token, leads=False)
        hops, ask_at = 0, now() + left / 1000 + 0.001 + random.uniform(0, self.settings.delay)
        while True:
            news = await self._next(ask_at)
            if news is _CLOSED or (news is _LEFT and not self.callers):
                await self._tell("leave", token, self.store.inbox)
                if news is _LEFT and self.callers:
                    return None, ""  # somebody came while it left
                raise Canceled("shutdown") if self.callers else asyncio.CancelledError
            if news is _LEFT or (isinstance(news, Announcement) and news.letter in "pnu"):
                continue
            if isinstance(news, Announcement) and news.token == token and news.letter in "vec" and news.payload is not None:
                self._stands(token, leads=False)
                return (news.letter, news.payload), ""
            answer = await self._poll(token)
            if answer[0] == "RUN":
                self._stands(token, leads=False)
                ask_at = now() + int(answer[1]) / 1000 + 0.001 + random.uniform(0, self.settings.delay)
            elif answer[0] == "EXPIRED":
                return None, token
            elif answer[0] == "GONE":
                self._gone += 1
                if self._gone > 3:
                    raise Unavailable("the outcome is not there any more")
                await asyncio.sleep(random.uniform(1, 2) * self.settings.delay)
                return None, ""
            elif answer[1] == b"s":
                hops += 1
                if hops > 1000:
                    raise Unavailable("the flight was superseded more than a thousand times")
                token, ask_at = answer[2].decode(), now() + max(0, hops - 16) / 1000
            elif answer[1] == b"w":
                self._withdrawn += 1
                if self._withdrawn > 8:
                    raise Unavailable("the flight was withdrawn again and again")
                return None, ""
            else:
                self._stands(token, leads=False)
                return (answer[1].decode(), answer[2]), ""

    def _stands(self, token: str, *, leads: bool) -> None:
        if token != self.token:
            for reader in self.readers:
                reader.stands()
        self.token, self.leads = token, leads
        self.stands.set_result(None)
        self.stands = asyncio.get_running_loop().create_future()

    # Leading

    async def _lead(self, request: _Request) -> Step:
        token, lease = request.token, self.settings.lease
        self._stands(token, leads=True)
        around.set((*self._chain, self))
        operation: asyncio.Task[Any] = asyncio.ensure_future(
            stream.write(self, token, self._operation) if self.streams else self._operation()
        )
        # The lease counts from the sending of what granted or renewed it, less a margin for clocks that drift.
        self._deadline, renewal = request.first_sent + lease * 0.95, request.first_sent + lease / 3
        end = now() + self.settings.longest
        try:
            while not operation.done() and now() < end:
                news = await self._next(min(renewal, self._deadline, end), operation)
                gives_up = news is _LEFT
                if news is _CLOSED:
                    await self._tell("release", token, "s", "")
                    raise Canceled("shutdown")
                if isinstance(news, Announcement) and news.token == token:
                    gives_up = news.letter == "u"
                    if news.letter == "c":
                        raise wire.lost(news.payload or b"")
                if now() >= self._deadline:
                    raise LeaseLost("it could not be renewed in time")
                if now() >= renewal and not operation.done():
                    renewal, nobody = await self._renew(token)
                    gives_up = gives_up or nobody
                if gives_up and not self.callers and await self._tell("release", token, "u", "") == "OK":
                    if self.callers:
                        return None, ""  # somebody came while it gave the flight up
                    raise asyncio.CancelledError
            if operation.done() and operation.cancelled():
                await self._tell("release", token, "g", "")
                raise Canceled("left")
            return await self._complete(token, self._outcome(operation)), ""
        finally:
            operation.cancel()
            await asyncio.gather(operation, return_exceptions=True)

    async def _renew(self, token: str) -> tuple[float, bool]:
        """When to renew next, and whether nobody waits, here or elsewhere."""
        sent, self._renewals = now(), self._renewals + 1
        timeout = min(self.store.timeout, self._deadline - sent)
        try:
            record, abandoned = self._record(token), "0" if self.callers else "1"
            answer = await self.store.ask("renew", self._keys(token), token, record, abandoned, "", timeout=timeout)
        except (Unknown, NotYet, Refused):
            return now() + self.settings.lease / 30, False
        if answer[0] != "OK":
            raise wire.lost(answer[1] if len(answer) > 1 else b"")
        self._deadline = sent + self.settings.lease * 0.95
        self._stands(token, leads=True)
        return sent + self.settings.lease / 3, not self.callers and int(answer[1]) == 0

    def _outcome(self, operation: "asyncio.Task[Any]") -> tuple[str, bytes]:
        label = self.store.label
        if not operation.done():
            return "e", wire.encode_group_failure("flightTooLong", f"not done after {self.settings.longest} s", label)
        self._failure = operation.exception()
        if self._failure:
            return "e", wire.encode_failure(self._failure, label)
        value = operation.result()
        if self.streams:
            if isinstance(value, StreamEnd):
                return "v", wire.encode_stream_end(value)
            if isinstance(value, GroupFailed):
                return "e", wire.encode_group_failure(value.code, value.message, label)
            raise value  # the lease is lost
        try:
            payload = wire.encode_value(value, label)
        except (TypeError, ValueError, RecursionError) as error:
            return "e", wire.encode_group_failure("encodingFailed", str(error), label)
        if len(payload) > self.settings.maximum_bytes:
            return "e", wire.encode_group_failure("resultTooLarge", f"{len(payload)} bytes", label)
        return "v", payload

    async def _complete(self, token: str, outcome: tuple[str, bytes]) -> tuple[str, bytes]:
        sendings, keys = 0, [*self._keys(token), self.name.of("last")]

        async def send() -> list[Any]:
            nonlocal sendings
            sendings += 1
            reuse = _ms(self.settings.reuse) if outcome[0] == "v" else 0
            return await self.store.ask("complete", keys, token, *outcome, reuse, timeout=max(0.01, self._deadline - now()))

        try:
            answer = await repeat(self._deadline, send)
        except OutOfMemory as error:
            outcome = "e", wire.encode_group_failure("storeFull", str(error), self.store.label)
            answer = await repeat(self._deadline, send)
        if answer[0] == "STALE" or (answer[0] == "UNKNOWN" and sendings == 1):
            raise wire.lost(answer[2] if len(answer) > 2 else b"")
        return outcome


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
