"""This package's scripts, and those of the client in Swift, do the same: random operations on both, side by side."""

import os
import random
import re
import unittest
from typing import Any

from redis import Redis

from singleflight.scripts import scripts
from singleflight.wire import Name, record

from .server import VECTORS, start

SWIFT = VECTORS.parents[1] / "Sources" / "SingleflightRedis" / "Protocol" / "Scripts"
# Each after those that it calls.
SHARED = (
    "name", "publish", "tell", "heard", "event", "decide", "read_lease", "left", "lapse", "canceled", "strike", "awaited", "mark", "register",
)
STEPS = int(os.environ.get("STEPS", "2000"))
TOKENS = [character * 32 for character in "abcdef"]
LIVE, DEAD = ["1" * 32, "2" * 32], ["3" * 32, "4" * 32]


# Every key but the fence's: its kind, its life in ms, and what it holds.
STATE = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
    if not string.find(key, ':fence$') then
        local kind = redis.call('TYPE', key).ok
        local value
        if kind == 'hash' then
            value = redis.call('HGETALL', key)
        elseif kind == 'list' then
            value = {table.concat(redis.call('LRANGE', key, 0, -1), ' ')}
        else
            value = {redis.call('GET', key)}
        end
        table.insert(found, {key, redis.call('PTTL', key), unpack(value)})
    end
end
return found
"""


def theirs(name: str) -> str:
    return "".join((SWIFT / f"{part}.lua").read_text() for part in (*SHARED, name))


class Side:
    """One of the two implementations, in a database of its own."""

    def __init__(self, url: str, database: int, texts: dict[str, str]) -> None:
        self.redis, self.texts = Redis.from_url(url, db=database), texts
        self.prefix, self.events = f"in:{database}:", f"ev:{database}"
        self.heard = self.redis.pubsub()

    def do(self, operation: str, keys: list[str], arguments: list[Any]) -> list[bytes]:
        rest = [] if operation in ("fence", "depend", "read") else [self.prefix] if operation == "append" else [self.prefix, self.events]
        answer: Any = self.redis.eval(self.texts[operation], len(keys), *keys, *arguments, *rest)
        return [word if isinstance(word, bytes) else str(word).encode() for word in answer]

    def messages(self) -> list[tuple[str, bytes]]:
        """What has been published so far, without the times."""
        self.redis.publish(self.events, "end")
        found: list[tuple[str, bytes]] = []
        while True:
            message = self.heard.get_message(ignore_subscribe_messages=True, timeout=5)
            if message and message["data"] == b"end":
                return sorted(found)
            if message:
                channel = message["channel"].decode().replace(self.prefix, "in:").replace(self.events, "ev")
                found.append((channel, re.sub(rb"^(2\w[0-9a-f]{32}) \d+ ", rb"\1 T ", message["data"])))

    def state(self) -> tuple[dict[bytes, Any], list[int]]:
        """What every key holds, and how long it lives."""
        found: Any = sorted(self.redis.eval(STATE, 0))  # type: ignore[arg-type]
        return {key: sorted(value) for key, _, *value in found}, [life for _, life, *_ in found]


class Scripts(unittest.TestCase):
    def test_they_do_the_same(self) -> None:
        seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
        dice = random.Random(seed)
        name = Name("shop", "pages", b"front")
        lease, wait, last = name.of("lease"), name.of("wait"), name.of("last")
        seen: dict[tuple[str, bytes], int] = {}

        def operation() -> tuple[str, list[str], list[Any]]:
            token, inbox = dice.choice(TOKENS), dice.choice(LIVE + DEAD)
            keys = [lease, wait, name.of("done", token)]
            raw = record(
                token, inbox, {"label": "x", "startedAt": 0, "renewals": dice.randrange(3)}, lease=dice.choice([60000, 120000]),
                grace=600000, retention=dice.choice([60000, 400000]), permitted_takeovers=dice.choice([0, 0, 1, 2]),
            )
            operations = ["renew", "complete", "release", "poll", "poll", "leave", "fence", "revoke", "depend"]
            match dice.choice(["enter"] * 6 + operations + ["append"] * 6 + ["read"] * 2):
                case "enter":
                    lapsed = dice.choice(["", *TOKENS])
                    arguments = [token, raw, inbox, dice.choice([0, 0, 1, 1, 600000]), dice.choice([0, 0, 0, 1, 9999999999999]), lapsed, dice.choice("01")]
                    return "enter", [*keys, last, *([name.of("done", lapsed)] if lapsed else [])], arguments
                case "renew":
                    return "renew", keys, [token, raw, dice.choice("01"), dice.choice(["", "2 0.5\nhalf"])]
                case "complete":
                    payload = dice.choice(["", "value", "x" * 9000, "y" * 70000])
                    return "complete", [*keys, last], [token, dice.choice("ve"), payload, dice.choice([0, 0, -1, 400000, 800000])]
                case "release":
                    return "release", keys, [token, dice.choice("usghw"), dice.choice(["", inbox])]
                case "poll":
                    return "poll", keys, [token, inbox, dice.choice("001")]
                case "leave":
                    return "leave", keys[:2], [token, inbox]
                case "fence":
                    return "fence", [lease, name.fence], [token, dice.choice([0, 2**52])]
                case "revoke":
                    named = dice.choice(["", token, token])
                    return "revoke", keys[: 3 if named else 2], [named, "revoked\nops\nwhy"]
                case "append":
                    held = sides[0].redis.get(lease) or b""  # mostly the leader's, and the next one
                    token = held[:32].decode() if len(held) > 98 and dice.randrange(4) else token
                    stored = sides[0].redis.llen(name.of("chunks", token))
                    index = max(0, stored + dice.choice([0, 0, 0, 0, -1, -1, -2, 1]))
                    chunk = dice.choice(["", "chunk", "c" * 300, "c" * 3000, "c" * 3001, "c" * 65001]) if stored < 6 else ""
                    chunks = name.of("chunks", token)
                    return "append", [*keys[:2], name.of("done", token), chunks], [token, index, chunk, dice.choice([60000, 400000])]
                case "read":
                    arguments = [dice.choice([0, 0, 1, 2, 5, 2**53 - 1]), dice.choice([0, 1, 10, 3300, 65001, 100000]), dice.choice([1, 600000])]
                    return "read", [name.of("chunks", token)], arguments
                case _:
                    return "depend", [lease], [token, f"7:pages:{dice.randrange(12)} {dice.choice(TOKENS)}\n"]

        with start() as redis:
            own = {script: text.text for script, text in scripts().items()}
            sides = [Side(redis.url, 0, own), Side(redis.url, 1, {script: theirs(script.split()[0]) for script in own})]
            for side in sides:
                side.heard.subscribe(side.events, *(side.prefix + inbox for inbox in LIVE))
            what: tuple[str, list[str], list[Any]] | None = None
            for step in range(STEPS):
                match dice.randrange(40):
                    case 0 | 1 | 2:  # the lease expires
                        raws = [side.redis.get(lease) for side in sides]
                        if raws[0] and len(raws[0]) > 98:
                            for side in sides:
                                side.redis.pexpire(lease, 590000)
                    case 3:  # time passes
                        gone = dice.choice([lease, wait, last, name.fence, *(name.of(kind, dice.choice(TOKENS)) for kind in ("done", "chunks"))])
                        for side in sides:
                            side.redis.delete(gone)
                    case 4 if dice.randrange(4) == 0:
                        for side in sides:
                            side.redis.set(lease, "something else", px=600000)
                    case _:
                        what = operation() if not what or dice.randrange(5) else what  # sent again
                        answers = [side.do(*what) for side in sides]
                        place = f"seed {seed}, step {step}: {what[0]} {what[2]}"
                        seen[what[0], answers[0][0]] = seen.get((what[0], answers[0][0]), 0) + 1
                        if what[0] == "read":  # one may give fewer chunks at a time
                            most, given = what[2][1], sorted((answer[2:] for answer in answers), key=len)
                            for chunks in given:
                                self.assertTrue(len(chunks) == 1 or sum(map(len, chunks)) <= most, place)
                            self.assertEqual((bool(given[0]), given[0]), (bool(given[1]), given[1][: len(given[0])]), place)
                            answers = [answer[:2] for answer in answers]
                        for answer in answers:  # times, and fences, which are times, differ
                            for index in range(1, len(answer)):
                                if re.fullmatch(rb"\d{5,}", answer[index]):
                                    answer[index] = b"<number>"
                        self.assertEqual(*answers, place)
                        self.assertEqual(*[side.messages() for side in sides], place)
                        (held, lives), (also, others) = (side.state() for side in sides)
                        self.assertEqual(held, also, place)
                        for life, other in zip(lives, others):
                            self.assertAlmostEqual(life, other, delta=15000, msg=place)
            for side in sides:
                side.redis.close()
        self.assertGreater(len(seen), 25, f"seed {seed} tried too little: {seen}")


if __name__ == "__main__":
    unittest.main()
