"""What callers get: processes are stores of their own, on a Redis of the test's own."""

import asyncio
import contextlib
import re
import signal
import unittest
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from singleflight import (
    Canceled,
    Circle,
    DecodingFailed,
    Group,
    GroupFailed,
    LeaseLost,
    OperationFailed,
    Refused,
    Settings,
    Store,
    StreamRestarted,
    StreamWriter,
    Unavailable,
    fence,
)
from singleflight.wire import Name

from .server import VECTORS, Server, server

QUICK = Settings(lease=0.9, grace=0.9, permitted_takeovers=1)


class Calls:
    """An operation that counts its runs, and waits until it may end."""

    def __init__(self, value: Any = None) -> None:
        self.runs = self.canceled = 0
        self.value, self.began, self.go = value, asyncio.Event(), asyncio.Event()

    async def __call__(self) -> Any:
        self.runs += 1
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.canceled += 1
            raise
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


async def begun(task: "asyncio.Task[Any]", calls: "Calls | Parts") -> None:
    """Waits until the operation runs; fails if it never will."""
    began = asyncio.ensure_future(calls.began.wait())
    await asyncio.wait({task, began}, return_when=asyncio.FIRST_COMPLETED)
    if not began.done():
        began.cancel()
        raise AssertionError(f"the operation was not run: {task.result()}")


END = object()


class Parts:
    """An operation that writes parts as it is told to, raises an exception among them, and ends at END."""

    def __init__(self, *parts: Any) -> None:
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self.runs = self.canceled = self.written = 0
        self.began = asyncio.Event()
        self.tell(*parts)

    def tell(self, *parts: Any) -> None:
        for part in parts:
            self.told.put_nowait(part)

    async def __call__(self, writer: StreamWriter) -> None:
        self.runs += 1
        self.began.set()
        try:
            while (part := await self.told.get()) is not END:
                if isinstance(part, Exception):
                    raise part
                await writer.write(part)
                self.written += 1
        except asyncio.CancelledError:
            self.canceled += 1
            raise


async def take(stream: AsyncGenerator[Any, None], count: int) -> list[Any]:
    return [await anext(stream) for _ in range(count)]


async def rest(stream: AsyncGenerator[Any, None]) -> list[Any]:
    return [part async for part in stream]


async def until_failure(stream: AsyncGenerator[Any, None]) -> tuple[list[Any], Exception]:
    """The parts, and what is behind them."""
    parts: list[Any] = []
    try:
        async for part in stream:
            parts.append(part)
    except Exception as error:
        return parts, error
    raise AssertionError(f"nothing was raised behind {parts}")


class Processes(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().set_debug(False)  # it takes many times as long
        self.redis: Server = await self.enterAsyncContext(server())

    @contextlib.asynccontextmanager
    async def process(self, settings: Settings = Settings(), *, name: str = "pages", timeout: float = 1) -> AsyncIterator[Group]:
        async with Store(self.redis.url, "test", command_timeout=timeout) as store:
            while not (await self.redis.redis.pubsub_numsub(store.prefix + store.inbox))[0][1]:
                await asyncio.sleep(0.005)
            group = Group(store, name, settings)
            yield group
            await group.close()

    async def waiting(self, key: str, count: int, group: str = "pages") -> None:
        while await self.redis.redis.hlen(Name("test", group, key.encode()).of("wait")) != count:
            await asyncio.sleep(0.005)

    async def keys_left(self) -> list[str]:
        return sorted(key.decode().split(":")[3] for key in await self.redis.redis.keys("*"))


class Groups(Processes):
    async def test_one_run_for_all_processes_and_callers(self) -> None:
        async with self.process() as one, self.process() as two:
            calls = Calls({"count": 1, "of": [1.5, None, "ö"]})
            first = asyncio.create_task(one.run("k", calls))
            await begun(first, calls)
            others = [asyncio.create_task(group.run("k", calls)) for group in (one, two, two)]
            await self.waiting("k", 1)
            calls.go.set()
            results = await asyncio.gather(first, *others)
            self.assertEqual(results, [{"count": 1, "of": [1.5, None, "ö"]}] * 4)
            self.assertEqual(calls.runs, 1)
            self.assertEqual(await self.keys_left(), ["done"])
            calls.value = 2
            self.assertEqual(await two.run("k", calls), 2)

    async def test_failures_are_the_same_everywhere(self) -> None:
        async with self.process() as one, self.process() as two:
            calls = Calls(LookupError("no such page"))
            tasks = [asyncio.create_task(one.run("k", calls))]
            await begun(tasks[0], calls)
            tasks.append(asyncio.create_task(two.run("k", calls)))
            await self.waiting("k", 1)
            calls.go.set()
            for failed in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(failed, OperationFailed)
                self.assertEqual((failed.type, failed.description, failed.leader), ("LookupError", "no such page", one.store.label))

    async def test_what_cannot_be_shared(self) -> None:
        async with self.process(Settings(maximum_bytes=100, longest=0.2)) as group:
            for value, code in ((object(), "encodingFailed"), ("x" * 100, "resultTooLarge")):
                calls = Calls(value)
                calls.go.set()
                with self.assertRaises(GroupFailed) as failed:
                    await group.run("k", calls)
                self.assertEqual(failed.exception.code, code)
            endless = Calls()
            with self.assertRaises(GroupFailed) as failed:
                await group.run("k", endless)
            self.assertEqual((failed.exception.code, endless.canceled), ("flightTooLong", 1))

    async def test_renewed_leases_last(self) -> None:
        async with self.process(QUICK, timeout=0.2) as one, self.process(QUICK, timeout=0.2) as two:
            calls = Calls("late")
            tasks = [asyncio.create_task(one.run("k", calls))]
            await begun(tasks[0], calls)
            tasks.append(asyncio.create_task(two.run("k", calls)))
            await asyncio.sleep(2)  # more than two leases
            calls.go.set()
            self.assertEqual(await asyncio.gather(*tasks), ["late"] * 2)
            self.assertEqual(calls.runs, 1)

    async def test_a_lost_announcement_is_made_up_for(self) -> None:
        async with self.process(QUICK, timeout=0.2) as one, self.process(QUICK, timeout=0.2) as two:
            calls = Calls("value")
            two.store._listening.cancel()  # hears nothing
            tasks = [asyncio.create_task(one.run("k", calls))]
            await begun(tasks[0], calls)
            tasks.append(asyncio.create_task(two.run("k", calls)))
            await self.waiting("k", 1)
            calls.go.set()
            self.assertEqual(await asyncio.gather(*tasks), ["value"] * 2)
            self.assertEqual(calls.runs, 1)

    async def test_nobody_waits_any_more(self) -> None:
        async with self.process() as one, self.process() as two:
            calls = Calls("value")
            leader = asyncio.create_task(one.run("k", calls))
            await begun(leader, calls)
            follower = asyncio.create_task(two.run("k", calls))
            await self.waiting("k", 1)
            leader.cancel()
            await asyncio.sleep(0.1)
            self.assertEqual(calls.canceled, 0, "another process waits")
            follower.cancel()
            await asyncio.gather(leader, follower, return_exceptions=True)
            while not calls.canceled:
                await asyncio.sleep(0.005)
            while await self.keys_left():
                await asyncio.sleep(0.005)

    async def test_a_leader_that_dies_is_followed_by_another(self) -> None:
        async with self.process(QUICK, timeout=0.2) as two:
            one = Store(self.redis.url, "test", command_timeout=0.2)
            first, second = Calls("never"), Calls("second")
            second.go.set()
            async with one:
                dead = Group(one, "pages", QUICK)
                lost = asyncio.create_task(dead.run("k", first))
                await begun(lost, first)
                follower = asyncio.create_task(two.run("k", second))
                await self.waiting("k", 1)
                dead._flights[b"k"].task.cancel()  # says nothing to anybody
                self.assertEqual(await follower, "second")
                await asyncio.gather(lost, return_exceptions=True)
            self.assertEqual((first.runs, second.runs), (1, 1))

    async def test_a_leader_that_closes_hands_over(self) -> None:
        slow = Settings(permitted_takeovers=1)
        async with self.process(slow) as two:
            first, second = Calls("never"), Calls("second")
            second.go.set()
            async with self.process(slow) as one:
                leader = asyncio.create_task(one.run("k", first))
                await begun(leader, first)
                follower = asyncio.create_task(two.run("k", second))
                await self.waiting("k", 1)
            with self.assertRaises(Canceled) as canceled:
                await leader
            self.assertEqual(canceled.exception.reason, "shutdown")
            self.assertEqual(await follower, "second")

    async def test_a_revoked_flight(self) -> None:
        async with self.process() as one, self.process() as two:
            calls = Calls()
            tasks = [asyncio.create_task(one.run("k", calls))]
            await begun(tasks[0], calls)
            tasks.append(asyncio.create_task(two.run("k", calls)))
            await self.waiting("k", 1)
            name = Name("test", "pages", b"k")
            found = await two.store.ask("revoke", [name.of("lease"), name.of("wait")], "", "revoked\nops\nwhy")
            token = found[1].decode()
            await two.store.ask("revoke", [name.of(kind) for kind in ("lease", "wait")] + [name.of("done", token)], token, "revoked\nops\nwhy")
            for canceled in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(canceled, Canceled)
                self.assertEqual((canceled.reason, canceled.by, canceled.why), ("revoked", "ops", "why"))
            self.assertEqual(calls.canceled, 1)

    async def test_reuse(self) -> None:
        async with self.process(Settings(reuse=60)) as one, self.process(Settings(reuse=60)) as two:
            calls = Calls(1)
            calls.go.set()
            self.assertEqual([await one.run("k", calls), await two.run("k", calls)], [1, 1])
            self.assertEqual(calls.runs, 1)

    async def test_fences_rise(self) -> None:
        drawn: list[int] = []

        async def operation() -> None:
            drawn.append(await fence())

        async with self.process() as one, self.process() as two:
            for group in (one, two, one):
                await group.run("k", operation)
        self.assertEqual(sorted(set(drawn)), drawn)
        self.assertEqual(len(drawn), 3)

    async def test_circles_are_refused(self) -> None:
        async with self.process() as one, self.process() as two:
            both = asyncio.Barrier(2)

            def operation(group: Group, other: str) -> Any:
                async def run() -> str:
                    await both.wait()
                    return str(await group.run(other, Calls()))

                return run

            x, y = asyncio.create_task(one.run("x", operation(one, "y"))), asyncio.create_task(two.run("y", operation(two, "x")))
            failures = await asyncio.wait_for(asyncio.gather(x, y, return_exceptions=True), 20)
            for failed in failures:
                assert isinstance(failed, OperationFailed), failed
            self.assertTrue(any(isinstance(failed.__cause__, Circle) for failed in failures if isinstance(failed, Exception)))

    async def test_settings_out_of_range(self) -> None:
        for wrong in ({"lease": 0.05}, {"grace": 100_000}, {"retention": 0}, {"reuse": -1}, {"permitted_takeovers": 1000}, {"longest": 0}, {"stream_bytes": 0}):
            with self.assertRaises(ValueError):
                Settings(**wrong)  # type: ignore[arg-type]
        with self.assertRaises(ValueError):
            Group(Store(self.redis.url, "test", command_timeout=1), "pages", Settings(lease=2.9))
        with self.assertRaises(ValueError):
            Name("test", "no colon:", b"k")

    async def test_least_privilege(self) -> None:
        """The rights that the page names suffice, in the namespace that they are for, and in no other."""
        rights = re.search(r"```\nuser singleflight on >… (.*?)\n```", (VECTORS.parent / "protocol.md").read_text(), re.DOTALL)
        assert rights
        await self.redis.redis.execute_command("ACL", "SETUSER", "worker", "on", ">secret", *rights[1].split())
        url = self.redis.url.replace("unix://", "unix://worker:secret@")
        async with Store(url, "shop", events=True) as one, Store(url, "shop") as two, Store(url, "other") as other:
            calls = Calls("value")
            leader = asyncio.create_task(Group(one, "pages").run("k", calls))
            await begun(leader, calls)
            follower = asyncio.create_task(Group(two, "pages").run("k", calls))
            while await self.redis.redis.hlen(Name("shop", "pages", b"k").of("wait")) != 1:
                await asyncio.sleep(0.005)
            calls.go.set()
            self.assertEqual(await asyncio.gather(leader, follower), ["value"] * 2)
            written = Parts(1, 2, END)
            self.assertEqual(await asyncio.gather(*(rest(Group(store, "parts").stream("k", written)) for store in (one, two))), [[1, 2]] * 2)
            with self.assertRaises(Refused):
                await Group(other, "pages").run("k", calls)
        async with Store(url.replace("secret", "wrong"), "shop") as stranger:
            with self.assertRaises(Refused):
                await Group(stranger, "pages").run("k", calls)

    async def test_circles_that_close_later(self) -> None:
        """While x waits for y, y gets another leader, whose operation waits for x: nothing but asking again finds that."""
        async with self.process() as one, self.process() as two:
            x, y, inner = Name("test", "pages", b"x"), Name("test", "pages", b"y"), Calls()
            other = asyncio.create_task(two.run("y", inner))
            await begun(other, inner)
            outer = asyncio.create_task(one.run("x", lambda: one.run("y", Calls())))
            await self.waiting("y", 1)
            raw = await self.redis.redis.get(y.of("lease"))
            token, waits = "c" * 32, f"{x} {one._flights[b'x'].token}\n"
            later = token.encode() + raw[32:94] + f"{len(waits):04}{waits}".encode() + raw[98:]
            await self.redis.redis.set(y.of("lease"), later, px=60000)
            await self.redis.redis.set(y.of("done", raw[:32].decode()), "s" + token, px=60000)
            await self.redis.redis.publish(one.store.prefix + one.store.inbox, f"2hh{raw[:32].decode()}{y.announced}\n")
            with self.assertRaises(OperationFailed) as failed:
                await asyncio.wait_for(outer, 20)
            self.assertIsInstance(failed.exception.__cause__, Circle)
            other.cancel()

    async def test_redis_away(self) -> None:
        async with self.process(timeout=0.3) as group:
            self.redis.process.kill()
            self.redis.process.wait()
            with self.assertRaises(Unavailable):
                await group.run("k", Calls())

    async def test_a_paused_redis_leads_for_nobody(self) -> None:
        async with self.process(Settings(lease=2), timeout=0.3) as group:
            await group.run("k", lambda: asyncio.sleep(0))
            self.redis.process.send_signal(signal.SIGSTOP)
            with self.assertRaises(Unavailable):
                await group.run("k", lambda: asyncio.sleep(0))
            self.redis.process.send_signal(signal.SIGCONT)
            # The request that lay in the server's socket is carried out now, or refused as too late.
            await self.redis.redis.ping()
            async with asyncio.timeout(8):  # less than a lease and its grace
                while await self.redis.redis.exists(Name("test", "pages", b"k").of("lease")):
                    await asyncio.sleep(0.01)

    async def test_a_lease_that_is_not_renewed_is_lost(self) -> None:
        async with self.process(QUICK, timeout=0.2) as group:
            calls = Calls()
            task = asyncio.create_task(group.run("k", calls))
            await begun(task, calls)
            await self.redis.redis.delete(Name("test", "pages", b"k").of("lease"))
            with self.assertRaises(LeaseLost):
                await task
            self.assertEqual(calls.canceled, 1)


class Streams(Processes):
    def chunks(self, group: Group, key: str = "k") -> str:
        """What holds the chunks of the flight that the group's process leads or follows."""
        return Name("test", "pages", key.encode()).of("chunks", group._flights[key.encode()].token)

    async def test_everybody_gets_all_parts(self) -> None:
        async with self.process() as one, self.process() as two:
            written, other = Parts(0, {"a": [1.5, None, "ö"]}), Parts()
            early = one.stream("k", written)
            self.assertEqual(await take(early, 2), [0, {"a": [1.5, None, "ö"]}])  # while it goes on
            late, elsewhere = one.stream("k", other), two.stream("k", other)
            self.assertEqual(await take(late, 1), [0])
            self.assertEqual(await take(elsewhere, 2), [0, {"a": [1.5, None, "ö"]}])
            self.assertEqual(len(one.store._listeners), 1)
            written.tell(2, 3)
            self.assertEqual(await take(elsewhere, 2), [2, 3])
            last = asyncio.create_task(rest(two.stream("k", other)))
            written.tell(4, END)
            self.assertEqual(await rest(early), [2, 3, 4])
            self.assertEqual(await rest(late), [{"a": [1.5, None, "ö"]}, 2, 3, 4])
            self.assertEqual(await rest(elsewhere), [4])
            self.assertEqual((await last)[-3:], [2, 3, 4])
            self.assertEqual((written.runs, other.runs), (1, 0))
            self.assertEqual(await self.keys_left(), ["chunks", "done"])

    async def test_many_parts(self) -> None:
        async with self.process() as one, self.process() as two:
            written = Parts(*range(3000), END)
            both = await asyncio.gather(*(rest(group.stream("k", written)) for group in (one, two, two)))
            self.assertEqual(both, [list(range(3000))] * 3)
            self.assertEqual(written.runs, 1)

    async def test_an_empty_stream(self) -> None:
        async with self.process() as one, self.process() as two:
            written = Parts()
            both = [asyncio.create_task(rest(group.stream("k", written))) for group in (one, two)]
            await self.waiting("k", 1)
            written.tell(END)
            self.assertEqual(await asyncio.gather(*both), [[], []])
            self.assertEqual(await self.keys_left(), ["done"])

    async def test_long_parts(self) -> None:
        async with self.process() as one, self.process() as two:
            long = ["a" * 700_000, "b", "c" * 2_000_000, "d" * 66_000, ""]
            written = Parts(*long)
            leading = one.stream("k", written)
            self.assertEqual(await take(leading, 5), long)
            # A chunk has at most 256 KiB, and a part that is longer lies in several.
            sizes = [len(chunk) for chunk in await self.redis.redis.lrange(self.chunks(one), 0, -1)]
            self.assertEqual((max(sizes), sum(sizes)), (256 * 1024, sum(len(part) + 6 for part in long)))
            following = asyncio.create_task(rest(two.stream("k", written)))
            await self.waiting("k", 1)
            written.tell("e" * 300_000, END)
            self.assertEqual(await following, [*long, "e" * 300_000])
            self.assertEqual(await rest(leading), ["e" * 300_000])

    async def test_failures_come_behind_the_parts(self) -> None:
        async with self.process() as one, self.process() as two:
            written = Parts(1)
            both = [asyncio.create_task(until_failure(group.stream("k", written))) for group in (one, two)]
            await self.waiting("k", 1)
            written.tell(2, 3, LookupError("no more"))
            for parts, failed in await asyncio.gather(*both):
                self.assertEqual(parts, [1, 2, 3])
                assert isinstance(failed, OperationFailed)
                self.assertEqual((failed.type, failed.description), ("LookupError", "no more"))

    async def test_what_cannot_be_shared(self) -> None:
        async with self.process(Settings(maximum_bytes=100, stream_bytes=300)) as group:
            for wrong, code in ((object(), "encodingFailed"), ("x" * 99, "resultTooLarge")):
                parts, failed = await until_failure(group.stream("k", Parts(1, 2, wrong)))
                assert isinstance(failed, GroupFailed)
                self.assertEqual((parts, failed.code), ([1, 2], code))
            parts, failed = await until_failure(group.stream("k", Parts(*["x" * 94] * 4, END)))
            assert isinstance(failed, GroupFailed)
            self.assertEqual((parts, failed.code), (["x" * 94] * 3, "streamTooLong"))  # each of 100 bytes, with its length in front

    async def test_a_stream_is_no_value(self) -> None:
        async with self.process() as one, self.process() as two:
            for group in (one, two):
                written = Parts(1)
                stream = one.stream("k", written)
                self.assertEqual(await take(stream, 1), [1])
                value = asyncio.create_task(group.run("k", Calls()))
                if group is two:
                    await self.waiting("k", 1)
                    written.tell(END)
                with self.assertRaises(DecodingFailed):
                    await value
                written.tell(END)
                self.assertEqual(await rest(stream), [])
            calls = Calls(1)
            leader = asyncio.create_task(one.run("k", calls))
            await begun(leader, calls)
            stream = asyncio.create_task(rest(two.stream("k", Parts())))
            await self.waiting("k", 1)
            calls.go.set()
            with self.assertRaises(DecodingFailed):
                await stream
            self.assertEqual(await leader, 1)

    async def test_reuse(self) -> None:
        async with self.process(Settings(reuse=60)) as one, self.process(Settings(reuse=60)) as two:
            written = Parts(1, 2, END)
            self.assertEqual(await rest(one.stream("k", written)), [1, 2])
            self.assertEqual(await rest(two.stream("k", written)), [1, 2])
            self.assertEqual(written.runs, 1)

    async def test_lost_announcements_are_made_up_for(self) -> None:
        async with self.process(QUICK, timeout=0.2) as one, self.process(QUICK, timeout=0.2) as two:
            two.store._listening.cancel()  # hears nothing
            written = Parts(1)
            leading, following = one.stream("k", written), two.stream("k", written)
            self.assertEqual(await take(leading, 1), [1])
            self.assertEqual(await take(following, 1), [1])
            written.tell(2)
            self.assertEqual(await take(following, 1), [2])
            written.tell(END)
            self.assertEqual(await rest(following), [])
            self.assertEqual(await rest(leading), [2])
            self.assertEqual(written.runs, 1)

    async def test_announcements_out_of_order(self) -> None:
        async with self.process() as one, self.process() as two:
            written = Parts(1)
            leading, following = one.stream("k", written), two.stream("k", written)
            self.assertEqual([await take(stream, 1) for stream in (leading, following)], [[1], [1]])
            reading = asyncio.create_task(rest(following))
            (reader,) = two._flights[b"k"].readers
            name, token = Name("test", "pages", b"k"), two._flights[b"k"].token
            for of, index in (("c" * 32, 1), (token, 0), (token, 7)):
                while not reader._waits:
                    await asyncio.sleep(0.005)
                await self.redis.redis.publish(two.store.prefix + two.store.inbox, f"2di{of}{name.announced}\n{index}\n\0\0\0\x019")
            written.tell(2, 3, END)
            self.assertEqual((await reading, await rest(leading)), ([2, 3], [2, 3]))

    async def test_an_inbox_that_was_away(self) -> None:
        async with self.process() as one, self.process() as two:
            written = Parts(1)
            leading, following = one.stream("k", written), two.stream("k", written)
            self.assertEqual([await take(stream, 1) for stream in (leading, following)], [[1], [1]])
            async with asyncio.timeout(3):  # less than a third of the lease
                for part in range(2, 6):
                    await self.redis.redis.client_kill_filter(_type="pubsub")
                    written.tell(part)
                    self.assertEqual(await take(following, 1), [part])

    async def test_another_leader_begins_anew(self) -> None:
        async with self.process(QUICK, timeout=0.2) as two, self.process(QUICK, timeout=0.2) as three:
            async with Store(self.redis.url, "test", command_timeout=0.2) as store:
                dead, old, new = Group(store, "pages", QUICK), Parts("old"), Parts("new", END)
                leading = dead.stream("k", old)
                await take(leading, 1)
                streams = [group.stream("k", new) for group in (two, two, three)]
                for stream in streams:
                    self.assertEqual(await take(stream, 1), ["old"])
                dead._flights[b"k"].task.cancel()  # says nothing to anybody
                for stream in streams:
                    with self.assertRaises(StreamRestarted):
                        await rest(stream)
                    self.assertEqual(await rest(stream), [], "it is over")
                await asyncio.gather(rest(leading), return_exceptions=True)

    async def test_nothing_is_void_to_a_reader_that_has_read_nothing(self) -> None:
        async with self.process(QUICK, timeout=0.2) as two:
            async with Store(self.redis.url, "test", command_timeout=0.2) as store:
                dead, old, new = Group(store, "pages", QUICK), Parts(), Parts("new", END)
                lost = asyncio.create_task(rest(dead.stream("k", old)))
                await begun(lost, old)
                following = asyncio.create_task(rest(two.stream("k", new)))
                await self.waiting("k", 1)
                dead._flights[b"k"].task.cancel()
                self.assertEqual(await following, ["new"])
                await asyncio.gather(lost, return_exceptions=True)
                self.assertEqual((old.canceled, new.runs), (1, 1))

    async def test_a_lost_leader_without_takeovers(self) -> None:
        cancels = Settings(lease=0.9, grace=0.9)
        async with self.process(cancels, timeout=0.2) as two:
            async with Store(self.redis.url, "test", command_timeout=0.2) as store:
                dead, written = Group(store, "pages", cancels), Parts(1, 2)
                leading = dead.stream("k", written)
                self.assertEqual(await take(leading, 2), [1, 2])
                following = asyncio.create_task(until_failure(two.stream("k", Parts())))
                await self.waiting("k", 1)
                dead._flights[b"k"].task.cancel()
                parts, failed = await following
                assert isinstance(failed, Canceled)
                self.assertEqual((parts, failed.reason), ([1, 2], "expired"))
                await asyncio.gather(rest(leading), return_exceptions=True)

    async def test_nobody_reads_any_more(self) -> None:
        async with self.process() as one, self.process() as two:
            written = Parts(1)
            leading, following = one.stream("k", written), two.stream("k", written)
            await take(leading, 1), await take(following, 1)
            await leading.aclose()
            await asyncio.sleep(0.1)
            self.assertEqual(written.canceled, 0, "another process reads")
            written.tell(2)
            self.assertEqual(await take(following, 1), [2])
            del following  # that is enough
            while not written.canceled:
                await asyncio.sleep(0.005)
            while await self.keys_left() != ["chunks"]:
                await asyncio.sleep(0.005)
            self.assertGreater(await self.redis.redis.pttl((await self.redis.redis.keys("*"))[0]), 0)

    async def test_a_reader_that_is_canceled_leaves(self) -> None:
        async with self.process() as group:
            written = Parts(1)
            stream = group.stream("k", written)
            await take(stream, 1)
            reading = asyncio.create_task(rest(stream))
            (reader,) = group._flights[b"k"].readers
            while not reader._waits:
                await asyncio.sleep(0.005)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            while not written.canceled:
                await asyncio.sleep(0.005)

    async def test_a_writer_waits_for_the_store(self) -> None:
        async with self.process() as group:
            written = Parts(0)
            stream = group.stream("k", written)
            await take(stream, 1)
            self.redis.process.send_signal(signal.SIGSTOP)
            part = "x" * 65_530  # 64 KiB, with quotation marks and length
            written.tell(*[part] * 40, END)
            while written.written < 17:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.1)
            # The first, a window of 16, and the one beyond, unless the answer to the first is on its way yet.
            self.assertIn(written.written, (17, 18))
            self.redis.process.send_signal(signal.SIGCONT)
            self.assertEqual(await rest(stream), [part] * 40)

    async def test_parts_that_are_gone(self) -> None:
        async with self.process() as one, self.process() as two:
            written = Parts(1)
            streams = [group.stream("k", written) for group in (one, two)]
            for stream in streams:
                self.assertEqual(await take(stream, 1), [1])
            await self.redis.redis.delete(self.chunks(one))
            written.tell(2)
            while written.written < 2:
                await asyncio.sleep(0.005)
            written.tell(END)
            for stream in streams:
                parts, failed = await until_failure(stream)
                assert isinstance(failed, GroupFailed)
                self.assertEqual((parts, failed.code), ([], "streamLost"))

    async def test_parts_that_are_gone_after_the_end(self) -> None:
        async with self.process() as group:
            written = Parts("a" * 250_000, "b" * 250_000, "c" * 250_000)
            stream = group.stream("k", written)
            await take(stream, 1)
            chunks, flight = self.chunks(group), group._flights[b"k"].task
            written.tell(END)
            await flight
            await self.redis.redis.delete(chunks)
            parts, failed = await until_failure(stream)
            assert isinstance(failed, GroupFailed)
            self.assertEqual(failed.code, "streamLost")
            self.assertLess(len(parts), 2)

    async def test_unread_parts_are_kept(self) -> None:
        settings = Settings(lease=0.9, grace=0.1, retention=0.1)
        async with self.process(settings, timeout=0.2) as group:
            written = Parts("a" * 250_000, "b" * 250_000, "c" * 250_000)
            stream = group.stream("k", written)
            await take(stream, 1)
            chunks, flight = self.chunks(group), group._flights[b"k"]
            written.tell(END)
            await flight.task
            for _ in range(2):
                await self.redis.redis.pexpire(chunks, 1000)
                while await self.redis.redis.pttl(chunks) <= 1000:
                    self.assertTrue(await self.redis.redis.exists(chunks))
                    await asyncio.sleep(0.01)
            self.assertEqual(await rest(stream), ["b" * 250_000, "c" * 250_000])
            self.assertFalse(flight.readers)

    async def test_an_idle_writer_keeps_its_parts(self) -> None:
        async with self.process(QUICK, timeout=0.2) as group:
            written = Parts(1)
            stream = group.stream("k", written)
            await take(stream, 1)
            chunks = self.chunks(group)
            await self.redis.redis.pexpire(chunks, 1500)
            while await self.redis.redis.pttl(chunks) <= 1500:
                self.assertTrue(await self.redis.redis.exists(chunks))
                await asyncio.sleep(0.01)
            written.tell(END)
            self.assertEqual(await rest(stream), [])

    async def test_a_lost_lease_ends_the_operation(self) -> None:
        async with self.process() as group:
            written = Parts(1)
            stream = group.stream("k", written)
            await take(stream, 1)
            await self.redis.redis.delete(Name("test", "pages", b"k").of("lease"))
            written.tell(2, 3, END)
            with self.assertRaises(LeaseLost):
                await rest(stream)
            self.assertEqual(written.runs, 1)

    async def test_revoked(self) -> None:
        async with self.process() as one, self.process() as two:
            written = Parts(1)
            streams = [group.stream("k", written) for group in (one, two)]
            for stream in streams:
                self.assertEqual(await take(stream, 1), [1])
            name, token = Name("test", "pages", b"k"), one._flights[b"k"].token
            keys = [name.of("lease"), name.of("wait"), name.of("done", token)]
            await two.store.ask("revoke", keys, token, "revoked\nops\nwhy")
            for stream in streams:
                parts, failed = await until_failure(stream)
                assert isinstance(failed, Canceled)
                self.assertEqual((parts, failed.reason, failed.by), ([], "revoked", "ops"))
            self.assertEqual(written.canceled, 1)

    async def test_circles_are_refused(self) -> None:
        async with self.process() as group:
            async def operation(writer: StreamWriter) -> None:
                async for part in group.stream("k", Parts()):
                    await writer.write(part)

            parts, failed = await until_failure(group.stream("k", operation))
            self.assertEqual(parts, [])
            self.assertIsInstance(failed.__cause__, Circle)

    async def test_writing_after_the_end(self) -> None:
        writers: list[StreamWriter] = []

        async def operation(writer: StreamWriter) -> None:
            writers.append(writer)
            await asyncio.gather(*(writer.write(part) for part in range(5)))

        async with self.process() as group:
            self.assertEqual(await rest(group.stream("k", operation)), [0, 1, 2, 3, 4])
            with self.assertRaises(RuntimeError):
                await writers[0].write(5)


if __name__ == "__main__":
    unittest.main()
