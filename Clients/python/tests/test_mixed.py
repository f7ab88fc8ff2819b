"""Processes in Swift and in Python share flights: the workers of `singleflight demo`, and this package.

SINGLEFLIGHT_TOOL is the tool's path; without it, the tests are skipped.
"""

import asyncio
import contextlib
import json
import os
import time
import unittest
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from singleflight import Canceled, Group, OperationFailed, Settings, Store, StreamRestarted, StreamWriter
from singleflight.wire import Name

from .server import Server, server

TOOL = os.environ.get("SINGLEFLIGHT_TOOL", "")
# The leases of the workers have a second: each leader's counts for its own flights.
LEASE = Settings(lease=6, grace=5)
TAKES_OVER = Settings(lease=6, grace=5, permitted_takeovers=2)
TIMEOUT = 2.0


class Origin:
    """What the workers' operations ask: counts, and answers when it may."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.failing = False
        self.asked, self.open = asyncio.Event(), asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError, asyncio.CancelledError):
            key = (await reader.readline()).decode().split()[1]
            self.hits[key] += 1
            hit = self.hits[key]
            self.asked.set()
            await self.open.wait()
            writer.write(f"{'FAIL' if self.failing else 'OK'} {key} {hit}\n".encode())
            await writer.drain()
        writer.close()


class Worker:
    """A process in Swift."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process, self.reports = process, dict[int, "asyncio.Future[dict[str, Any]]"]()
        self.halfway = asyncio.Semaphore(0)  # once for each caller that has seen a leader count to fifty
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            event = json.loads(line)
            if "ready" in event:
                self.ready.set_result(None)
            elif "halfway" in event:
                self.halfway.release()
            elif "done" in event:
                self.reports.pop(event["done"]["_0"]["batch"]).set_result(event["done"]["_0"])

    def call(
        self, *keys: str, callers: int = 1, policy: str = "cancel", counts: bool = False
    ) -> "asyncio.Future[dict[str, Any]]":
        """So many callers, spread over the keys, of a value, or of a stream that counts to a hundred. What they got."""
        assert self.process.stdin
        batch = id(report := asyncio.get_running_loop().create_future())
        self.reports[batch] = report
        order = {"id": batch, "keys": keys, "callers": callers, "policy": policy, "counts": counts, "start": time.monotonic_ns()}
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        return report


class Counted:
    """The operation in Python: a value as the workers have it."""

    def __init__(self, key: str, running: Counter[str] | None = None) -> None:
        self.key, self.runs, self.running = key, 0, running
        self.began, self.go = asyncio.Event(), asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> dict[str, Any]:
        self.runs += 1
        self.began.set()
        await self.go.wait()
        if self.failure:
            raise self.failure
        return {"key": self.key, "hit": 1000, "process": os.getpid(), "ready": time.monotonic_ns()}


class Counting:
    """The operation of a stream in Python: counts to a hundred, as the workers do, and waits at the half."""

    def __init__(self) -> None:
        self.runs, self.go = 0, asyncio.Event()

    async def __call__(self, writer: StreamWriter) -> None:
        self.runs += 1
        for number in range(1, 51):
            await writer.write(number)
        await self.go.wait()
        for number in range(51, 101):
            await writer.write(number)


@unittest.skipUnless(TOOL, "SINGLEFLIGHT_TOOL is not set")
class Mixed(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().set_debug(False)  # it takes many times as long
        self.redis: Server = await self.enterAsyncContext(server())
        self.origin = Origin()
        listening = await asyncio.start_server(self.origin.answer, "127.0.0.1", 0)
        await self.enterAsyncContext(listening)
        self.port = listening.sockets[0].getsockname()[1]
        self.store: Store = await self.enterAsyncContext(Store(self.redis.url, "mixed", command_timeout=TIMEOUT))

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        environment = os.environ | {"SINGLEFLIGHT_URL": f"redis+unix://{self.redis.socket}", "SINGLEFLIGHT_NAMESPACE": "mixed"}
        process = await asyncio.create_subprocess_exec(
            TOOL, "demo-worker", "--label", "swift", "--origin", str(self.port), env=environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        worker = Worker(process)
        try:
            await asyncio.wait_for(asyncio.shield(worker.ready), 30)
            yield worker
        finally:
            worker.reading.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def waiting(self, key: str, count: int, group: str = "pages") -> None:
        while await self.redis.redis.hlen(Name("mixed", group, key.encode()).of("wait")) != count:
            await asyncio.sleep(0.005)

    async def test_swift_leads(self) -> None:
        group, mine = Group(self.store, "pages", LEASE), Counted("k")
        async with self.worker() as worker:
            theirs = worker.call("k", callers=3)
            await self.origin.asked.wait()
            follower = asyncio.create_task(group.run("k", mine))
            await self.waiting("k", 1)
            await asyncio.sleep(1.5)  # longer than a lease: it is renewed
            self.origin.open.set()
            value, report = await follower, await theirs
            self.assertEqual((value["key"], value["hit"], value["process"]), ("k", 1, worker.process.pid))
            self.assertEqual(report["values"], {"1": 3})
            self.assertEqual((self.origin.hits["k"], mine.runs), (1, 0))

    async def test_python_leads(self) -> None:
        group, mine = Group(self.store, "pages", LEASE), Counted("k")
        async with self.worker() as worker:
            leader = asyncio.create_task(group.run("k", mine))
            await mine.began.wait()
            theirs = worker.call("k", callers=3)
            await self.waiting("k", 1)
            await asyncio.sleep(1.5)
            mine.go.set()
            report = await theirs
            self.assertEqual((await leader)["key"], "k")
            self.assertEqual(report["values"], {"1000": 3})
            self.assertEqual((self.origin.hits["k"], mine.runs), (0, 1))

    async def test_failures(self) -> None:
        group, mine = Group(self.store, "pages", LEASE), Counted("k")
        async with self.worker() as worker:
            self.origin.failing = True
            theirs = worker.call("k")
            await self.origin.asked.wait()
            follower = asyncio.create_task(group.run("k", mine))
            await self.waiting("k", 1)
            self.origin.open.set()
            with self.assertRaises(OperationFailed) as failed:
                await follower
            self.assertEqual((failed.exception.description, failed.exception.leader), ("the origin failed on k, hit 1", "swift"))
            self.assertEqual((await theirs)["failures"], {"the origin failed on k, hit 1": 1})
            mine.failure = LookupError("no such page")
            leader = asyncio.create_task(group.run("k", mine))
            await mine.began.wait()
            theirs = worker.call("k")
            await self.waiting("k", 1)
            mine.go.set()
            with self.assertRaises(OperationFailed):
                await leader
            self.assertEqual((await theirs)["failures"], {"no such page": 1})

    async def test_python_takes_over(self) -> None:
        group, mine = Group(self.store, "pages-taken-over", TAKES_OVER), Counted("k")
        async with self.worker() as worker:
            worker.call("k", policy="takeOver")
            await self.origin.asked.wait()
            follower = asyncio.create_task(group.run("k", mine))
            await self.waiting("k", 1, "pages-taken-over")
            worker.process.kill()
            mine.go.set()
            self.assertEqual((await follower)["process"], os.getpid())

    async def test_swift_takes_over(self) -> None:
        group, mine = Group(self.store, "pages-taken-over", TAKES_OVER), Counted("k")
        async with self.worker() as worker:
            leader = asyncio.create_task(group.run("k", mine))
            await mine.began.wait()
            theirs = worker.call("k", policy="takeOver")
            await self.waiting("k", 1, "pages-taken-over")
            self.origin.open.set()
            await group.close()
            self.assertEqual((await theirs)["values"], {"1": 1})
            with self.assertRaises(Canceled):
                await leader

    async def test_a_lost_leader_without_takeovers(self) -> None:
        group, mine = Group(self.store, "pages", LEASE), Counted("k")
        async with self.worker() as worker:
            worker.call("k")
            await self.origin.asked.wait()
            follower = asyncio.create_task(group.run("k", mine))
            await self.waiting("k", 1)
            worker.process.kill()
            with self.assertRaises(Canceled) as canceled:
                await follower
            self.assertEqual((canceled.exception.reason, mine.runs), ("expired", 0))

    async def test_swift_streams(self) -> None:
        group, mine, numbers = Group(self.store, "counts", LEASE), Counting(), list(range(1, 101))
        async with self.worker() as worker, Store(self.redis.url, "mixed", command_timeout=TIMEOUT) as other:
            theirs = worker.call("k", callers=2, counts=True)
            early = group.stream("k", mine)
            await self.origin.asked.wait()
            self.assertEqual([await anext(early) for _ in range(50)], numbers[:50])
            late = Group(other, "counts", LEASE).stream("k", mine)
            self.assertEqual(await anext(late), 1)
            await asyncio.sleep(1.5)  # longer than a lease: it is renewed
            self.origin.open.set()
            self.assertEqual([number async for number in early], numbers[50:])
            self.assertEqual([number async for number in late], numbers[1:])
            report = await theirs
            self.assertEqual((report["values"], report["restarts"], mine.runs), ({"1": 2}, 0, 0))

    async def test_python_streams(self) -> None:
        group, mine, numbers = Group(self.store, "counts", LEASE), Counting(), list(range(1, 101))
        async with self.worker() as early, self.worker() as late:
            leading = group.stream("k", mine)
            self.assertEqual(await anext(leading), 1)
            first = early.call("k", callers=2, counts=True)
            for _ in range(2):
                await early.halfway.acquire()
            second = late.call("k", counts=True)
            await late.halfway.acquire()
            await asyncio.sleep(1.5)
            mine.go.set()
            self.assertEqual([number async for number in leading], numbers[1:])
            for report, callers in ((await first, 2), (await second, 1)):
                self.assertEqual((report["values"], report["restarts"]), ({"1": callers}, 0))
            self.assertEqual((mine.runs, self.origin.hits["k"]), (1, 0))

    async def test_python_streams_anew(self) -> None:
        group, mine, numbers = Group(self.store, "counts-taken-over", TAKES_OVER), Counting(), list(range(1, 101))
        mine.go.set()
        async with self.worker() as worker:
            worker.call("k", policy="takeOver", counts=True)
            await self.origin.asked.wait()
            reading = group.stream("k", mine)
            self.assertEqual(await anext(reading), 1)
            worker.process.kill()
            with self.assertRaises(StreamRestarted):
                self.assertIsNone([number async for number in reading])
            self.assertEqual([number async for number in group.stream("k", mine)], numbers)

    async def test_swift_streams_anew(self) -> None:
        group, mine = Group(self.store, "counts-taken-over", TAKES_OVER), Counting()
        async with self.worker() as worker:
            leading = group.stream("k", mine)
            self.assertEqual(await anext(leading), 1)
            theirs = worker.call("k", policy="takeOver", counts=True)
            await worker.halfway.acquire()
            self.origin.open.set()
            await group.close()
            report = await theirs
            self.assertEqual((report["values"], report["restarts"]), ({"1": 1}, 1))
            with self.assertRaises(Canceled):
                self.assertIsNone([number async for number in leading])

    async def test_flights_of_many(self) -> None:
        """Callers in two processes of each kind, in rounds that begin in turns here and there: nobody fails, nobody gets another
        key's value, and no key is computed by each for itself."""
        keys = [f"key-{index}" for index in range(20)]
        go = asyncio.Event()
        runs = 0

        async def call(group: Group, key: str) -> int:
            async def operation() -> dict[str, Any]:
                nonlocal runs
                runs += 1
                await go.wait()
                return {"key": key, "hit": 1000, "process": os.getpid(), "ready": time.monotonic_ns()}

            value = await group.run(key, operation)
            self.assertEqual(value["key"], key)
            return int(value["hit"])

        async with self.worker() as one, self.worker() as two, Store(self.redis.url, "mixed", command_timeout=TIMEOUT) as other:
            groups = [Group(self.store, "pages", LEASE), Group(other, "pages", LEASE)]
            for turn in range(4):
                go.clear()
                self.origin.open.clear()
                reports, calls = [], []
                for kind in (0, 1) if turn % 2 else (1, 0):
                    if kind == 0:
                        calls = [asyncio.create_task(call(group, key)) for group in groups for key in keys * 3]
                    else:
                        reports = [worker.call(*keys, callers=60) for worker in (one, two)]
                    for key in keys:
                        await self.waiting(key, 3 if reports and calls else 1)
                go.set()
                self.origin.open.set()
                hits = Counter(await asyncio.gather(*calls))
                for report in await asyncio.gather(*reports):
                    self.assertEqual((report["wrong"], report["failures"], report["canceled"]), (0, {}, {}))
                    hits.update({int(hit): count for hit, count in report["values"].items()})
                self.assertEqual(hits.total(), 240)
                here = hits[1000]
                self.assertEqual(here, 240 if turn % 2 else 0, hits)
            self.assertEqual((runs, sum(self.origin.hits.values())), (40, 40))


if __name__ == "__main__":
    unittest.main()
