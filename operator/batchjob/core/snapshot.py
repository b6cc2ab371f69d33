"""A run at one moment, as the store tells it and the status shows it. Values only."""

from typing import NamedTuple

import msgspec

from batchjob.api.status import Counts
from batchjob.core.breaker import Spent, Trip
from batchjob.core.items import RunState


class LastError(NamedTuple):
    """One of the last errors that ended an item."""

    item_id: str
    error_class: str
    message: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A run at one moment. Counts of one snapshot conserve: they add up to `total` once that is known."""

    epoch: str
    state: RunState
    paused: bool
    total: int | None  # None until the source is loaded, or the run ended without: then it counts what there was
    counts: Counts
    usage: dict[str, int]
    failed_positions: list[int]  # sorted, the first 1000
    last_errors: list[LastError]  # newest first, at most 10
    reason: str | None  # why the run failed or was abandoned
    message: str | None
    abandoned: bool  # being given up; the operator may have died in the middle of it
    breaker: str = ""  # the circuit breaker in force, as core.breaker writes it; empty: none
    tripped: Trip | Spent | None = None  # since then nothing is granted
    resumed_by: str | None = None  # the token with which it last went on after that
    load_error: tuple[str, str] | None  # class and message; temporary, gone once the source is loaded
    source_sha256: str | None
    source_etag: str | None
    bad_items: int  # records that were left out of the source
    bad_item_messages: list[str]  # about the first of them
    missing_results: int = 0  # of items done before the store was lost: their results, if they had one, are nowhere
    results_uri: str | None
    manifest_sha256: str | None
    next_due_ms: int | None  # milliseconds from now until the earliest delayed item is due
    reached: int = 0  # thousandths of items that are done, those in hand counted in part; 0: nobody told; never falls
    version: int  # grows with each change
