"""The page of limits says what the code does."""

from pathlib import Path
from typing import Final

import pytest

from batchjob.api.base import MAX_NAME
from batchjob.api.notifications import MAX_MAILS, MAX_WEBHOOKS
from batchjob.api.schedule import MAX_SCHEDULE_NAME
from batchjob.api.source import MAX_INLINE_BYTES
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.controller.settings import Settings
from batchjob.core.queries import MOST_CHARACTERS, MOST_TERMS
from batchjob.core.records import KEPT_SECONDS
from batchjob.gateway import bodies
from batchjob.gateway.contents import SEND_SECONDS
from batchjob.gateway.doors import DOWNLOADS
from batchjob.gateway.items import MOST_ID
from batchjob.gateway.live_hub import MOST_OF_USER
from batchjob.gateway.settings import GatewaySettings
from batchjob.gateway.submission import MOST_ITEMS, MOST_TEXT
from batchjob.gateway.tokens import MAX_TOKEN
from batchjob.gateway.ui.session import MOST_TOKEN
from batchjob.store.caches import CACHES_BYTES
from batchjob.store.history import RECORDS_KEPT
from batchjob.store.index import MOST_ROWS
from batchjob.store.run import CACHE_BYTES
from batchjob.worker.cache import VALUE_LIMIT
from batchjob.worker.ledger import NOTE_LIMIT
from batchjob.worker.sources import limits, report
from batchjob_processors.attachments import MAIL_BYTES

PAGE: Final = (Path(__file__).parents[2] / "docs" / "reference" / "limits.md").read_text("utf-8")
OPERATOR: Final = Settings.model_fields
GATEWAY: Final = GatewaySettings.model_fields
SPEC: Final = BatchJobSpec.model_json_schema()["properties"]
ROWS: Final = {
    "name of a BatchJob": f"{MAX_NAME} characters, no dot",
    "name of a BatchSchedule": f"{MAX_SCHEDULE_NAME} characters",
    "id of an item": f"{MOST_ID} characters",
    "items in the manifest (`source.items`)": f"{MOST_ITEMS:,}, and {MAX_INLINE_BYTES >> 10} KiB as JSON",
    "`json` of an item in the manifest": f"{MOST_TEXT:,} characters",
    "one item, one record of a file": f"{limits.RECORD_BYTES >> 20} MiB",
    "nesting of an item's data": f"{limits.DEPTH} levels",
    "a source": f"{limits.SOURCE_BYTES >> 30} GiB, read within an hour",
    "a file that is one JSON array": f"{limits.ARRAY_BYTES >> 20} MiB",
    "silence of a source's server": f"{limits.SILENCE_SECONDS:.0f} s; the first or next rows of a query "
    f"{limits.STATEMENT_SECONDS // 60} minutes",
    "worker pods (`parallelism`)": f"{SPEC['parallelism']['maximum']:,}; by default {SPEC['parallelism']['default']}",
    "items in flight in a pod (`concurrency`)": f"{SPEC['concurrency']['maximum']}; by default "
    f"{SPEC['concurrency']['default']}",
    "results that stay in the store": f"{OPERATOR['results_limit_bytes'].default >> 20} MiB a BatchJob "
    "(`BATCHJOB_RESULTS_LIMIT_BYTES`)",
    "note of an item (`context.ledger`)": f"{NOTE_LIMIT >> 10} KiB",
    "a value of `context.cache`": f"{VALUE_LIMIT >> 10} KiB; {CACHE_BYTES >> 20} MiB an owner, "
    f"{CACHES_BYTES >> 20} MiB all owners",
    "attachments of a mail": f"16, and {MAIL_BYTES >> 20} MiB in all",
    "receivers of `spec.notify`": f"{MAX_WEBHOOKS} webhooks and {MAX_MAILS} mails",
    "rows of a query in a report": f"{report.MOST_ROWS}, of {report.MOST_COLUMNS} columns; "
    f"{report.MOST_BYTES >> 20} MiB in all",
    "records of ended BatchJobs, from which reports are made": f"{KEPT_SECONDS // 86_400} days, and the last "
    f"{RECORDS_KEPT:,}",
    "a body": f"{bodies.MAX_BYTES >> 10} KiB; [with staging](../how-to/http-api.md#many-items) "
    f"{GATEWAY['uploads_max_bytes'].default >> 30} GiB and {GATEWAY['uploads_max_items'].default:,} items",
    "nesting of a body": f"{bodies.MAX_DEPTH} levels",
    "a token": f"{MAX_TOKEN >> 10} KiB; in the admin UI {MOST_TOKEN:,} characters",
    "a search": f"{MOST_CHARACTERS:,} characters and {MOST_TERMS} terms",
    "requests of one user a minute": f"{GATEWAY['reads_per_minute'].default} that read, "
    f"{GATEWAY['submits_per_minute'].default} that make BatchJobs ({GATEWAY['ai_submits_per_minute'].default} of type "
    f"ai-batch), {GATEWAY['changes_per_minute'].default} other changes",
    "connections for live events": f"{MOST_OF_USER} of one user, to each pod of the gateway",
    "results read at a time (`…/results`)": f"{DOWNLOADS} to each pod of the gateway, half of them for one user; "
    f"{SEND_SECONDS:.0f} s for a result",
    "a page of a list": f"{MOST_ROWS}",
}


@pytest.mark.parametrize(("what", "most"), ROWS.items(), ids=str)
def test_a_limit_is_the_one_in_the_code(what: str, most: str) -> None:
    assert f"| {what} | {most} |" in PAGE
