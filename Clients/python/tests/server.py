"""A Redis of a test's own."""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator

import redis
from pathlib import Path
from redis.asyncio import Redis

VECTORS = Path(__file__).parents[3] / "docs" / "protocol"


class Server:
    def __init__(self, folder: str) -> None:
        self.socket = f"{folder}/redis.sock"
        self.url = f"unix://{self.socket}"
        command = ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.redis = Redis.from_url(self.url)

    def wait(self) -> None:
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
                    return
            except redis.ConnectionError:
                if self.process.poll() is not None:
                    raise RuntimeError("redis-server did not start") from None
                time.sleep(0.01)


@contextlib.contextmanager
def start() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        started = Server(folder)
        try:
            started.wait()
            yield started
        finally:
            started.process.kill()
            started.process.wait()


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[Server]:
    with start() as started:
        try:
            yield started
        finally:
            await started.redis.aclose()
