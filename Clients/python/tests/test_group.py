"""What callers get: processes are stores of their own, on a Redis of the test's own."""

import asyncio
import contextlib
import re
import signal
import unittest
from collections.abc import AsyncIterator
from typing import Any

from singleflight import (
    Canceled,
    Circle,
    Group,
    GroupFailed,
    LeaseLost,
    OperationFailed,
    Refused,
    Settings,
    Store,
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


async def begun(task: "asyncio.Task[Any]", calls: Calls) -> None:
    """Waits until the operation runs; fails if it never will."""
    began = asyncio.ensure_future(calls.began.wait())
    await asyncio.wait({task, began}, return_when=asyncio.FIRST_COMPLETED)
    if not began.done():
        began.cancel()
        raise AssertionError(f"the operation was not run: {task.result()}")


class Groups(unittest.IsolatedAsyncioTestCase):
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
        for wrong in ({"lease": 0.05}, {"grace": 100_000}, {"retention": 0}, {"reuse": -1}, {"permitted_takeovers": 1000}, {"longest": 0}):
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


if __name__ == "__main__":
    unittest.main()
