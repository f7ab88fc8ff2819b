"""docs/protocol/*.json: names, records, messages, and each script's answers."""

import json
import unittest
from typing import Any

from singleflight.errors import Canceled, DecodingFailed, GroupFailed
from singleflight.scripts import scripts
from singleflight.wire import (
    Announcement,
    Dependencies,
    Envelope,
    Frames,
    Name,
    StreamEnd,
    encode_stream_end,
    envelope,
    frame,
    record,
    result,
)

from .server import VECTORS, server


def vectors(name: str) -> Any:
    found = json.loads((VECTORS / f"{name}.json").read_text())
    assert found
    return found


class Vectors(unittest.IsolatedAsyncioTestCase):
    def test_names(self) -> None:
        for vector in vectors("names"):
            name = Name(vector["namespace"], vector["group"], bytes.fromhex(vector["keyInHexadecimal"]))
            self.assertEqual(name.partition, vector["partition"])
            self.assertEqual(name.announced, vector["announcedName"])
            self.assertEqual(name.fence, vector["fence"])
            for kind in ("done", "chunks"):
                self.assertEqual(name.of(kind, vector["token"]), vector[kind])
            for kind in ("lease", "wait", "last"):
                self.assertEqual(name.of(kind), vector[kind])

    def test_records(self) -> None:
        for vector in vectors("records"):
            found = Dependencies.read(vector["record"].encode())
            self.assertEqual(found.token if found else None, vector["token"])
            self.assertEqual([name for name, _ in found.waits_for] if found else None, vector["waitsFor"])
            if vector["waitsFor"]:
                continue  # only scripts write such a one
            note = {name: vector[name] for name in ("label", "renewals")}
            mine = record(
                vector["token"], vector["inbox"], {"label": note["label"], "startedAt": 1700000000000, "renewals": note["renewals"]},
                lease=vector["lease"], grace=vector["grace"], retention=vector["retention"],
                permitted_takeovers=vector["permittedTakeovers"],
            )
            self.assertEqual(mine.decode(), vector["record"])

    def test_envelopes(self) -> None:
        for vector in vectors("envelopes"):
            whole = bytes.fromhex(vector["envelopeInHexadecimal"])
            body = bytes.fromhex(vector["bodyInHexadecimal"])
            self.assertEqual(Envelope.read(whole), (vector["codec"], vector["leader"], vector["trace"], body))
            if not vector["trace"]:
                self.assertEqual(envelope(vector["codec"], vector["leader"], body), whole)

    def test_announcements(self) -> None:
        for vector in vectors("announcements"):
            found = Announcement.read(vector["message"].encode())
            assert found
            self.assertEqual((found.token, found.name), (vector["token"], vector["name"]))
            meaning = vector["meaning"]
            if meaning == "ask":
                self.assertIsNone(found.payload)
            elif meaning == "the flight ended with this value":
                self.assertEqual(result(found.letter, found.payload or b""), "value")
            elif meaning == "the flight ended with this failure":
                with self.assertRaises(GroupFailed) as failed:
                    result(found.letter, found.payload or b"")
                self.assertEqual((failed.exception.code, failed.exception.message), ("storeFull", "no room"))
            elif meaning.startswith("the flight is canceled"):
                with self.assertRaises(Canceled) as canceled:
                    result(found.letter, found.payload or b"")
                self.assertIn(canceled.exception.reason, ("expired", "revoked"))
                if canceled.exception.reason == "revoked":
                    self.assertEqual((canceled.exception.by, canceled.exception.why), ("ops", "why"))
            elif meaning.startswith("behind"):
                index, chunk = found.chunk or (-1, b"")
                told = f"of {len(chunk)} bytes" if chunk else ", to be read"
                self.assertEqual(f"behind {index} chunks there is one more {told}".replace(" ,", ","), meaning)
            else:
                self.assertIn(found.letter, "up", meaning)

    def test_streams(self) -> None:
        parts = [b"", b"a", b"b" * 300, b"c" * 70000]
        row = b"".join(frame(part) for part in parts)
        self.assertEqual(row[:9], b"\0\0\0\0\0\0\0\1a")
        for size in (1, 5, 4096, len(row)):  # wherever it is cut
            frames, found = Frames(), []
            for start in range(0, len(row), size):
                frames.append(row[start : start + size])
                while (part := frames.take()) is not None:
                    found.append(part)
            self.assertEqual((found, bool(frames)), (parts, False))
        whole = encode_stream_end(StreamEnd(2, 31, 4096, "leader"))
        self.assertEqual(Envelope.read(whole), ("stream/1", "leader", {}, b"2 31 4096"))
        self.assertEqual(result("v", whole), StreamEnd(2, 31, 4096, "leader"))
        for wrong in (b"", b"1 2", b"1 2 3 4", b"1 2 -3", b"1  2 3"):
            with self.assertRaises(DecodingFailed):
                result("v", envelope("stream/1", "leader", wrong))

    async def test_scripts(self) -> None:
        mine = scripts()
        async with server() as redis:
            for vector in vectors("scripts"):
                keys = vector["keys"]
                if vector["script"] == "GET":  # what the lease's key holds
                    answer = [await redis.redis.get(*keys)]
                else:
                    text = mine[vector["script"]].text
                    answer = await redis.redis.execute_command("EVAL", text, len(keys), *keys, *vector["arguments"])
                words = [word.decode() for word in answer]
                for index, word in enumerate(vector["answer"]):
                    if word == "<milliseconds>":
                        self.assertGreater(int(words[index]), 0)
                        words[index] = word
                self.assertEqual(words, vector["answer"], vector["what"])


if __name__ == "__main__":
    unittest.main()
