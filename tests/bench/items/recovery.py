"""How long a crash holds up: SIGKILL of a worker while another waits, and of Redis in the middle of the work."""

from typing import Final

from tests.bench.items.process import Contender, fresh_broker

SPREAD_SECONDS: Final = 6  # between the kills of two repetitions, which thus meet timers in different phases


async def of_worker(contender: Contender, number: int) -> float:
    """Seconds from the kill until a second worker, idle before, has started everything that the first held."""
    async with fresh_broker() as broker:
        return await contender.until_taken_over(broker, number * SPREAD_SECONDS)


async def of_redis(contender: Contender, items: int) -> float:
    """Seconds from the first answer of the restarted server to the next item that finishes."""
    async with fresh_broker() as broker:
        return await contender.until_going_on(broker, items)
