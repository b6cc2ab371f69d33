"""How often an item is tried, and when."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from batchjob.api.base import Model


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
        None, description="Longest wait. Default: 300."
    )
    jitter_percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="Random part of the wait, so that items do not come back all at once. Default: 20."
    )


class Retry(Model):
    """How often an item is tried, and when."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description="Attempts of an item before it is dead-lettered. Default by type: 3, export 2, email 5.",
    )
    max_losses: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description="How often an item may lose its worker (a killed pod, a crash) before it is dead-lettered as "
        "infrastructure; such a loss costs no attempt. Default: 3.",
    )
    backoff: Backoff | None = Field(None, description="The wait between attempts.")
