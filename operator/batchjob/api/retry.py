"""How often an item is tried, and when."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Model, cel
from batchjob.api.status import ErrorClass


class BackoffStrategy(StrEnum):
    """How the wait before the next attempt grows."""

    EXPONENTIAL = "exponential"
    FIXED = "fixed"


class Backoff(Model):
    """The wait before an item's next attempt."""

    strategy: BackoffStrategy | None = Field(
        None,
        description="exponential: doubles with each attempt; fixed: always the same. Default: exponential.",
    )
    initial_delay_seconds: Annotated[int, Field(ge=0, le=3600)] | None = Field(
        None, description="Wait before the second attempt. Default by type: 2, email 1."
    )
    max_delay_seconds: Annotated[int, Field(ge=1, le=86400)] | None = Field(
        None, description="Longest wait. Default: 300, or initialDelaySeconds where that is more."
    )
    jitter_percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="Random part of the wait, so that items do not come back all at once. Default: 20."
    )


class ClassRetry(Model):
    """How often an item is tried, and when, after an attempt that failed with errors of one class."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "has(self.maxAttempts) || has(self.backoff)",
                    "retry.perErrorClass[] says nothing: give it maxAttempts or backoff, or remove it",
                    field=".errorClass",
                )
            ]
        }
    )

    error_class: ErrorClass = Field(
        description="Which errors: timeout, rate-limited, invalid-input, upstream, infrastructure, permission, "
        "refused, invalid-answer, content-filter or internal (an exception that says nothing more)."
    )
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description="An item whose attempt of this number, or a later one, fails with this class is dead-lettered; 1: "
        "at once. Attempts that failed with other classes count too. Default: retry.maxAttempts.",
    )
    backoff: Backoff | None = Field(
        None, description="The wait after an attempt that failed with this class. Default of each field: retry.backoff."
    )


class Retry(Model):
    """How often an item is tried, and when."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description="Attempts of an item before it is dead-lettered. Default by type: 3, export and report 2, email 5.",
    )
    max_losses: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description="How often an item may lose its worker (a killed pod, a crash) before it is dead-lettered as "
        "infrastructure; such a loss costs no attempt. Default: 3.",
    )
    backoff: Backoff | None = Field(None, description="The wait between attempts.")
    per_error_class: Annotated[list[ClassRetry], Field(max_length=len(ErrorClass))] | None = Field(
        None,
        description="What is different after errors of one class. It is about attempts that may be made again: an item "
        "that the processor gives up (Fail), such as a mail that was refused for good, is given up all the same. No "
        "class differs by default.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["errorClass"]},
    )
