"""Distributed request coalescing over Redis, protocol 2 of swift-singleflight: one computation of a key at a time."""

from .errors import (
    Canceled,
    Circle,
    DecodingFailed,
    GroupFailed,
    LeaseLost,
    OperationFailed,
    Refused,
    SingleflightError,
    StreamRestarted,
    Unavailable,
)
from .group import Group, Settings, fence
from .store import Store
from .stream import StreamWriter

__all__ = [
    "Canceled",
    "Circle",
    "DecodingFailed",
    "Group",
    "GroupFailed",
    "LeaseLost",
    "OperationFailed",
    "Refused",
    "Settings",
    "SingleflightError",
    "Store",
    "StreamRestarted",
    "StreamWriter",
    "Unavailable",
    "fence",
]
