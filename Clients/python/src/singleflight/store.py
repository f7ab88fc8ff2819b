"""A process's connections to Redis: those for requests, and its inbox."""

import asyncio
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis import exceptions as server

from .clock import ServerClock, now
from .errors import Refused, Unavailable
from .scripts import LONG, scripts
from .wire import Announcement, Name

# First words of replies by which a request was certainly not carried out, and may be repeated.
_LATER = ("READONLY", "MASTERDOWN", "LOADING", "BUSY", "OOM", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN")


class NotYet(Exception):
    """The server did not carry the request out, and may do so later."""


class Unknown(Exception):
    """No answer came: the request may have been carried out, or may be later."""


class OutOfMemory(NotYet):
    pass


class Listener(Protocol):
    """A flight, as the inbox knows it."""

    def hear(self, announcement: Announcement | None) -> None:
        """What was announced; None: Redis should be asked."""


class Store:
    """What all groups of a process share. An asynchronous context manager."""

    def __init__(
        self, url: str, namespace: str, *, label: str | None = None, command_timeout: float = 1.0, events: bool = False,
        connections: int = 16,
    ) -> None:
        if not 0.01 <= command_timeout <= 60:
            raise ValueError(f"command_timeout is {command_timeout} s, not 10 ms to 1 min")
        self.namespace, self.timeout = namespace, command_timeout
        self.label = label or f"{socket.gethostname()}:{os.getpid()}"
        self.inbox, self.clock, self.fences = secrets.token_hex(16), ServerClock(), dict[int, int]()
        # The client must not repeat a request on its own: how often one was sent matters.
        keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}
        self._redis: Redis = Redis.from_pool(
            BlockingConnectionPool.from_url(
                url, max_connections=connections + 1, timeout=None, retry=Retry(NoBackoff(), 0), protocol=2,
                socket_timeout=None, **keepalive,
            )
        )
        database = self._redis.connection_pool.connection_kwargs.get("db") or 0
        self.prefix = f"sf2:in:{namespace}:{database}:"
        self.events = f"sf2:ev:{namespace}:{database}" if events else ""
        self._scripts = scripts()
        self._listeners: dict[str, set[Listener]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Store":
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: Any) -> None:
        """Ends the connections. Close the groups before."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.timeout)
        for task in (self._listening, *self._tasks):
            task.cancel()
        await asyncio.gather(self._listening, *self._tasks, return_exceptions=True)
        await self._redis.aclose()

    async def ask(self, operation: str, keys: list[str], *arguments: str | bytes | int, timeout: float = 0) -> list[Any]:
        """Sends a request once. Raises Unknown, NotYet, Refused."""
        long = operation == "complete" and isinstance(arguments[2], bytes) and len(arguments[2]) > LONG
        script = self._scripts["complete long" if long else operation]
        rest = [*keys, *arguments]
        if operation not in ("fence", "depend", "read"):
            rest += [self.prefix] if operation == "append" else [self.prefix, self.events]
        try:
            async with asyncio.timeout(timeout or self.timeout):
                try:
                    answer = await self._redis.evalsha(script.sha, len(keys), *rest)
                except server.NoScriptError:
                    answer = await self._redis.eval(script.text, len(keys), *rest)
        except (server.RedisError, OSError, TimeoutError) as error:
            raise self._meaning(error) from error
        if answer[0] == b"FOREIGN":
            raise Refused(f"the key of the {answer[1].decode()} holds something else: {keys[0]}")
        return [answer[0].decode(), *answer[1:]]

    async def record(self, flight: str) -> bytes | None:
        """The lease record of `<P>:<group>:<key>`."""
        partition, _, announced = flight.partition(":")
        try:
            async with asyncio.timeout(self.timeout):
                record = await self._redis.get(f"sf2:{{{self.namespace}:{partition}}}:lease:{announced}")
                return cast("bytes | None", record)
        except (server.RedisError, OSError, TimeoutError) as error:
            raise self._meaning(error) from error

    def _meaning(self, error: BaseException) -> Exception:
        if isinstance(error.__cause__, server.RedisError):
            error = error.__cause__  # what went wrong while it connected
        text = str(error)
        if "script: " in text and ": -" in text:  # servers before 7.0
            text = text.rpartition(": -")[2]
        word = getattr(error, "status_code", None) or text.partition(" ")[0]
        if isinstance(error, (server.ReadOnlyError, server.MasterDownError, server.BusyLoadingError)):
            word = "READONLY"
        if isinstance(error, server.OutOfMemoryError) or word == "OOM":
            return OutOfMemory(text)
        if word == "READONLY":
            # The server is, or may have become, a replica: the connections lead to the wrong one.
            self._spawn(self._redis.connection_pool.disconnect(inuse_connections=False))
        if word in _LATER or isinstance(error, (server.ClusterDownError, server.TryAgainError)):
            return NotYet(text)
        if isinstance(error, (server.AuthenticationError, server.AuthorizationError)):
            return Refused(text)
        if isinstance(error, (server.ConnectionError, server.TimeoutError, OSError, TimeoutError)):
            return Unknown(text or "no answer in time")
        return Refused(text)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The inbox

    def listen(self, name: Name, listener: Listener) -> None:
        self._listeners.setdefault(name.announced, set()).add(listener)

    def forget(self, name: Name, listener: Listener) -> None:
        listeners = self._listeners.get(name.announced, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(name.announced, None)

    async def _listen(self) -> None:
        failures = 0
        while True:
            began = now()
            inbox = self._redis.pubsub()
            try:
                await self._load()
                await inbox.subscribe(self.prefix + self.inbox)
                async for message in inbox.listen():
                    if message["type"] == "subscribe":
                        await self._learn_time()
                        self._ask_all()
                    elif message["type"] == "message" and (announcement := Announcement.read(message["data"])):
                        for listener in list(self._listeners.get(announcement.name, ())):
                            listener.hear(announcement)
            except (server.RedisError, OSError, TimeoutError):
                self._ask_all()
            finally:
                await inbox.aclose()  # type: ignore[no-untyped-call]
            # A connection that did not last counts as a failure, too.
            failures = failures + 1 if now() - began < 1.5 else 0
            await asyncio.sleep(random.uniform(0, min(1.5, 0.05 * 2**failures)))

    def _ask_all(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in [listener for listeners in self._listeners.values() for listener in listeners]:
            loop.call_later(random.uniform(0, 0.05), listener.hear, None)

    async def _load(self) -> None:
        async with asyncio.timeout(self.timeout):
            for script in self._scripts.values():
                try:
                    await self._redis.script_load(script.text)
                except server.ResponseError as error:
                    if "ompil" not in str(error):
                        raise
                    for old in self._scripts.values():
                        old.speak(flags=False)
                    await self._redis.script_load(script.text)

    async def _learn_time(self) -> None:
        sent = now()
        async with asyncio.timeout(self.timeout):
            seconds, microseconds = await self._redis.time()
        self.clock.learn(seconds + microseconds / 1e6, 1e-6, sent, now())

    # Requests to lead that nobody knows the fate of

    def hand_back(self, name: Name, token: str, sendings: int, last_sent: float, begin: float, lease: float) -> None:
        self._spawn(self._hand_back(name, token, sendings, last_sent, begin, lease))

    async def _hand_back(
        self, name: Name, token: str, sendings: int, last_sent: float, begin: float, lease: float
    ) -> None:
        await asyncio.sleep(max(0.0, begin - now()))
        keys, delay = [name.of("lease"), name.of("wait"), name.of("done", token)], self.timeout
        while True:
            last = now() > last_sent + lease
            inbox = "" if name.announced in self._listeners else self.inbox
            try:
                answer = (await self.ask("release", keys, token, "w", inbox))[0]
            except (Unknown, NotYet):
                last = False if now() < last_sent + 2 * lease else last
                answer = ""
            except Refused:
                return
            if last or (answer == "OK" and sendings == 1):
                return
            await asyncio.sleep(min(delay, max(self.timeout / 4, last_sent + lease - now() + 0.001)))
            delay *= 2


async def repeat(until: float, attempt: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    """Until it is answered, or the time is over: then raises Unavailable."""
    delay = 0.02
    while True:
        try:
            return await attempt()
        except (Unknown, NotYet) as error:
            if isinstance(error, OutOfMemory) or now() + delay >= until:
                raise (error if isinstance(error, OutOfMemory) else Unavailable(str(error))) from error
        await asyncio.sleep(delay * random.uniform(0.5, 1))
        delay = min(2 * delay, 1)
