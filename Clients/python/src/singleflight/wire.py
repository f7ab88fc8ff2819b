"""Names, records, envelopes and announcements, byte for byte as docs/protocol.md has them."""

import binascii
import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from .errors import Canceled, DecodingFailed, GroupFailed, LeaseLost, OperationFailed

Key = str | bytes | int | UUID
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def key_bytes(key: Key) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()


def encode_key(key: bytes) -> str:
    def plain(index: int, byte: int) -> bool:
        return 0x21 <= byte <= 0x7E and byte not in b"%{}" and not (byte == 0x7E and index == 0)

    name = "".join(chr(byte) if plain(index, byte) else f"%{byte:02X}" for index, byte in enumerate(key))
    return name if len(name) <= 256 else "~" + hashlib.sha256(key).hexdigest()


@dataclass(frozen=True)
class Name:
    """What the keys of a flight are called."""

    namespace: str
    group: str
    key: bytes
    partition: int = field(init=False)
    announced: str = field(init=False)

    def __post_init__(self) -> None:
        if not (NAME.fullmatch(self.namespace) and NAME.fullmatch(self.group)):
            raise ValueError("a namespace and a group have 1 to 64 of A-Z, a-z, 0-9, '.', '_', '-'")
        object.__setattr__(self, "partition", binascii.crc_hqx(self.group.encode() + b":" + self.key, 0) % 256)
        object.__setattr__(self, "announced", f"{self.group}:{encode_key(self.key)}")

    def __str__(self) -> str:
        return f"{self.partition}:{self.announced}"

    def of(self, kind: str, token: str | None = None) -> str:
        name = f"sf2:{{{self.namespace}:{self.partition}}}:{kind}:{self.announced}"
        return name if token is None else f"{name}:{token}"

    @property
    def fence(self) -> str:
        return f"sf2:{{{self.namespace}:{self.partition}}}:fence"


def record(
    token: str, inbox: str, note: dict[str, Any], *, lease: int, grace: int, retention: int, permitted_takeovers: int = 0
) -> bytes:
    numbers = f"{lease:08}{grace:08}{retention:08}{permitted_takeovers:03}0000000"
    text = json.dumps(note, ensure_ascii=False, separators=(",", ":"))
    return f"{token}{inbox}{numbers}{text}".encode()


class Dependencies(NamedTuple):
    token: str
    waits_for: list[tuple[str, str]]

    @classmethod
    def read(cls, record: bytes | None) -> "Dependencies | None":
        """Whose lease it is, and which flights that one waits for, by name and token."""
        if not record or not re.match(rb"[0-9a-f]{64}[0-9]{34}", record):
            return None
        lines = record[98 : 98 + int(record[94:98])].decode(errors="replace").splitlines()
        pairs = (line.partition(" ") for line in lines)
        return cls(record[:32].decode(), [(name, token) for name, _, token in pairs])


class Announcement(NamedTuple):
    letter: str
    token: str
    name: str
    payload: bytes | None

    @classmethod
    def read(cls, message: bytes) -> "Announcement | None":
        found = re.match(rb"2([vecwshupnd])([ih])([0-9a-f]{32})([^\n]*)\n", message)
        if not found:
            return None
        letter, flag, token, name = (part.decode(errors="replace") for part in found.groups())
        return cls(letter, token, name, message[found.end() :] if flag == "i" else None)

    @property
    def chunk(self) -> tuple[int, bytes] | None:
        """Of a `d`: how many chunks are before this one, and the chunk; empty if it has to be read."""
        number, _, chunk = (self.payload or b"").partition(b"\n")
        return (int(number), chunk) if re.fullmatch(rb"[0-9]{1,15}", number) else None


def envelope(codec: str, leader: str, body: bytes) -> bytes:
    def short(text: str) -> bytes:
        encoded = text.encode()[:255]
        return bytes([len(encoded)]) + encoded

    return b"SF\x01" + short(codec) + short(leader) + body


def frame(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


class Frames:
    """Puts a stream's parts together from its chunks: a long part lies in several, short ones share one."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __bool__(self) -> bool:
        """Whether there is anything that was not taken."""
        return bool(self._bytes)

    def append(self, chunk: bytes) -> None:
        self._bytes += chunk

    @property
    def has_next(self) -> bool:
        return len(self._bytes) >= 4 and len(self._bytes) >= 4 + int.from_bytes(self._bytes[:4], "big")

    def take(self) -> bytes | None:
        """The next part, if it is here as a whole."""
        if not self.has_next:
            return None
        end = 4 + int.from_bytes(self._bytes[:4], "big")
        part = bytes(self._bytes[4:end])
        del self._bytes[:end]
        return part


class StreamEnd(NamedTuple):
    """The outcome of a stream that is whole: what there is under its token."""

    chunks: int
    parts: int
    bytes: int
    leader: str


class Envelope(NamedTuple):
    codec: str
    leader: str
    trace: dict[str, str]
    body: bytes

    @classmethod
    def read(cls, payload: bytes) -> "Envelope":
        position = 3

        def short() -> str:
            nonlocal position
            end = position + 1 + payload[position]
            if end > len(payload):
                raise IndexError
            text, position = payload[position + 1 : end], end
            return text.decode(errors="replace")

        try:
            if payload[:2] != b"SF" or payload[2] not in (1, 2):
                raise DecodingFailed("the outcome is no envelope")
            codec, leader, trace = short(), short(), {}
            if payload[2] == 2:
                count, position = payload[position], position + 1
                trace = {short(): short() for _ in range(count)}
        except IndexError:
            raise DecodingFailed("the envelope is cut off") from None
        return cls(codec, leader, trace, payload[position:])


def encode_json(value: Any) -> bytes:
    """Raises TypeError or ValueError for what JSON does not have."""

    def finite(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        if isinstance(value, dict):
            return {key: finite(item) for key, item in value.items()}
        return [finite(item) for item in value] if isinstance(value, (list, tuple)) else value

    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def decode_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise DecodingFailed(f"this is no JSON: {error}") from error


def encode_value(value: Any, leader: str) -> bytes:
    return envelope("json/1", leader, encode_json(value))


def encode_failure(error: BaseException, leader: str) -> bytes:
    parts = (type(error).__name__, str(error))
    body = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return envelope("failure/1", leader, body)


def encode_group_failure(code: str, message: str, leader: str) -> bytes:
    return envelope("group-error/1", leader, f"{code}\n{message}".encode())


def encode_stream_end(end: StreamEnd) -> bytes:
    return envelope("stream/1", end.leader, f"{end.chunks} {end.parts} {end.bytes}".encode())


def lost(reason: bytes) -> Canceled | LeaseLost:
    """What it is to its leader that a lease is gone: by the reason that was told, if one was."""
    try:
        if reason:
            result("c", reason)
    except Canceled as canceled:
        return canceled
    return LeaseLost("another process may lead")


def result(letter: str, payload: bytes) -> Any:
    """The value of an outcome, a `StreamEnd` if it is one of a stream; or what the flight ended with, raised."""
    if letter == "c":
        reason, _, rest = payload.decode(errors="replace").partition("\n")
        by, _, why = rest.partition("\n")
        known = ("expired", "exhausted", "shutdown", "left", "revoked")
        raise Canceled(reason, by, why) if reason in known else Canceled("expired")
    codec, leader, _, body = Envelope.read(payload)
    if letter == "v" and codec == "json/1":
        return decode_json(body)
    if letter == "v" and codec == "stream/1" and (numbers := re.fullmatch(rb"(\d{1,15}) (\d{1,15}) (\d{1,15})", body)):
        return StreamEnd(int(numbers[1]), int(numbers[2]), int(numbers[3]), leader)
    if letter == "e" and codec == "group-error/1":
        code, _, message = body.decode(errors="replace").partition("\n")
        raise GroupFailed(code, message, leader)
    if letter == "e" and codec == "failure/1":
        parts: list[str] = []
        data = body
        while len(data) >= 4 and len(parts) < 2:
            end = 4 + int.from_bytes(data[:4], "big")
            parts.append(data[4:end].decode(errors="replace"))
            data = data[end:]
        if len(parts) == 2:
            raise OperationFailed(parts[0], parts[1], leader)
    raise DecodingFailed(f"an outcome '{letter}' of the codec {codec!r}")
