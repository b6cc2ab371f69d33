"""An API server that is away for long: it is waited for without haste, and what happened meanwhile is made good.

The operator meets it as a connection that is reset; users reach it all the same.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

from tests.prove.control.faults import over
from tests.prove.control.stage import Actor, Place, a_world
from tests.support.kubectl import wait_until


def trial(place: Place, actors: Sequence[Actor], seconds: float) -> dict[str, Any]:
    """One absence, of so many seconds, in which a run is paused and another one begins."""
    actor = actors[0]
    with a_world(place, actors) as world:
        world.apply(parallelism=1, item_seconds=max(0.5, seconds / 200))  # twice as long: its end is no pause
        world.running()
        away = actor.proxy.inject("", reset=True, times=sys.maxsize)
        actor.proxy.cut_watches(last=b"")
        began = time.monotonic()
        world.change(suspend=True)
        world.apply("parent", parallelism=1)
        wait_until(
            lambda: time.monotonic() - began,
            f"{seconds} s to pass",
            until=lambda passed: passed >= seconds,
            timeout=2 * seconds,
            every=seconds / 100,
        )
        calls = away.hits
        over([away])
        back = time.monotonic()
        world.jobs.wait_condition("run", "Suspended", "SuspendedByUser")
        world.running("parent")
        late = time.monotonic() - back
        actor.must_live()
    return {"away_seconds": seconds, "calls_meanwhile": calls, "late_seconds": round(late, 1)}
