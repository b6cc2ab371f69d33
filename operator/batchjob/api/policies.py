"""The policies of a BatchJob: when it stops by itself, what counts as success, and how long what it left is kept.

All of them may change while the run goes on: who is in trouble needs to let more fail, give more time or keep results
longer without losing what is done.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Model, cel

Percent = Annotated[int, Field(ge=0, le=100)]
YEAR_SECONDS: Final = 31_536_000


class FailureAction(StrEnum):
    """What becomes of a run whose circuit breaker trips."""

    SUSPEND = "Suspend"
    FAIL = "Fail"


class FailurePolicy(Model):
    """A circuit breaker over the last items that ended."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "self.minItems <= self.windowItems",
                    "spec.failurePolicy.minItems must not be larger than windowItems: so many never end in the window",
                    field=".minItems",
                )
            ]
        }
    )

    max_failed_percent: Percent = Field(
        100,
        description="Trips once more than this part of the last windowItems items have failed. 100: never. "
        "Default: 100.",
    )
    window_items: Annotated[int, Field(ge=1, le=10000)] = Field(
        100, description="How many of the items that ended last are looked at. Default: 100."
    )
    min_items: Annotated[int, Field(ge=1, le=10000)] = Field(
        20, description="Trips only once so many items have ended, since the last resume. Default: 20."
    )
    action: FailureAction = Field(
        FailureAction.SUSPEND,
        description="Suspend: pods go, and the run is held, reason FailureThreshold, until spec.resumeToken changes. "
        "Fail: the run ends, and what is left is cancelled. Default: Suspend.",
    )


class SuccessPolicy(Model):
    """What counts as success."""

    min_succeeded_percent: Percent = Field(
        100,
        description="The run is Complete when at least this part of its items succeeded; those that its processor "
        "cancelled are left out of the reckoning. Default: 100.",
    )


class Retention(Model):
    """How long what a run left is kept: its pods, its Jobs, and what the store has of it."""

    completed_seconds: Annotated[int, Field(ge=0, le=10 * YEAR_SECONDS)] = Field(
        86400,
        description="How long after the end of a run that is Complete; and of these, at most 1,000 of a queue "
        "are kept. Default: 86400, a day.",
    )
    failed_seconds: Annotated[int, Field(ge=0, le=10 * YEAR_SECONDS)] = Field(
        604800, description="How long after the end of one that failed or was cancelled. Default: 604800, a week."
    )
