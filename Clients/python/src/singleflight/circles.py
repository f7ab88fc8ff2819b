"""Operations that would wait for themselves, by way of others."""

import asyncio
import contextvars
from typing import TYPE_CHECKING

from .errors import Circle, Refused
from .store import NotYet, Store, Unknown
from .wire import Dependencies

if TYPE_CHECKING:
    from .flight import Flight

around: contextvars.ContextVar[tuple["Flight", ...]] = contextvars.ContextVar("the flights around", default=())


async def refuse_circles(store: Store, flight: "Flight", *, started: bool) -> None:
    """Until the flight is over, looks for a circle: at first, and again whenever its token or those of others may have changed."""
    chain = around.get()[-8:]
    while chain and not flight.task.done():
        stands = flight.stands
        if flight.token and not (started and flight.leads):
            await _look(store, flight, chain)
        await asyncio.wait({flight.task, stands}, return_when=asyncio.FIRST_COMPLETED)


async def _look(store: Store, flight: "Flight", chain: tuple["Flight", ...]) -> None:
    """Notes that the flights around wait for this one, then looks whether this one waits for one of them."""
    ends = {(str(outer.name), outer.token) for outer in chain}
    line = f"{flight.name} {flight.token}\n"
    ways, read = [[(str(flight.name), flight.token)]], 0
    try:
        await asyncio.gather(*(store.ask("depend", [outer.name.of("lease")], outer.token, line) for outer in chain))
        while ways and read < 32:
            way, read = ways.pop(0), read + 1
            if way[-1] in ends:
                raise Circle([name for name, _ in way])
            found = Dependencies.read(await store.record(way[-1][0]))
            if found and found.token == way[-1][1]:
                ways += [[*way, other] for other in found.waits_for]
    except (Unknown, NotYet, Refused):
        return  # the flight itself finds out that Redis is away
