"""The block of type custom."""

from typing import Annotated

from pydantic import Field

from batchjob.api.base import Model


class Custom(Model):
    """Type custom: a processor of your own, found by entry point in the worker image."""

    processor: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="Entry point of the group batchjob.processors in the worker image."
    )
    params: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)] = Field(
        default_factory=dict, description="Parameters for the processor; it reads them as context.params."
    )
