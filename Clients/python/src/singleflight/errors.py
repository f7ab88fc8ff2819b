"""What a run can end with, besides a value."""


class SingleflightError(Exception):
    """Anything that this package raises."""


class OperationFailed(SingleflightError):
    """The operation failed, here or where it ran. Every caller gets the same, whichever process ran it."""

    def __init__(self, type: str, description: str, leader: str) -> None:
        super().__init__(f"{type}: {description} (computed by {leader})")
        self.type, self.description, self.leader = type, description, leader


class GroupFailed(SingleflightError):
    """The operation may have ended well, but the outcome could not be shared: `resultTooLarge`, `streamLost`, …"""

    def __init__(self, code: str, message: str, leader: str) -> None:
        super().__init__(f"{code}: {message} (computed by {leader})")
        self.code, self.message, self.leader = code, message, leader


class Canceled(SingleflightError):
    """The flight ended without a result: `expired`, `exhausted`, `shutdown`, `left`, or `revoked` (by whom, and why)."""

    def __init__(self, reason: str, by: str = "", why: str = "") -> None:
        super().__init__(f"{reason} by {by}: {why}" if reason == "revoked" else reason)
        self.reason, self.by, self.why = reason, by, why


class StreamRestarted(SingleflightError):
    """The leader was lost, and another one begins anew: the parts that were read are void."""

    def __init__(self) -> None:
        super().__init__("the leader was lost, and the stream begins anew")


class LeaseLost(SingleflightError):
    """This process led the flight, and does not any more. Its operation was canceled."""


class Unavailable(SingleflightError):
    """Redis could not be asked in time. The flight may be running, or have ended."""


class Refused(SingleflightError):
    """Redis refused a request: the user may not do it, the password is wrong, a key holds something else."""


class Circle(SingleflightError):
    """The operation would wait for itself, by way of the flights named."""

    def __init__(self, way: list[str]) -> None:
        super().__init__(" waits for ".join(way))
        self.way = way


class DecodingFailed(SingleflightError):
    """The outcome is of another codec, or no JSON: does another group have the same name, or is a stream run as a value?"""
