"""What was told of a BatchJob, and how far that is: status.notifications, the outbox and its log in one."""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from batchjob.api.base import Model, Timestamp

MAX_WEBHOOKS: Final = 4
MAX_MAILS: Final = 4
MAX_NOTIFICATIONS: Final = 8  # kept in the status: a run that is paused again and again must not let it grow


class NotifyEvent(StrEnum):
    """What is told."""

    COMPLETED = "batch.completed"
    FAILED = "batch.failed"
    SUSPENDED = "batch.suspended"
    CANCELLED = "batch.cancelled"


class DeliveryState(StrEnum):
    """How far a delivery is."""

    PENDING = "Pending"
    DELIVERED = "Delivered"
    FAILED = "Failed"
    GONE = "Gone"  # the receiver answered 410: it is not asked again, about later events neither


class Delivery(Model):
    """What became of telling one receiver."""

    to: Annotated[str, Field(max_length=32)] = Field(
        description="Place in spec.notify, such as webhooks[0], when it came about."
    )
    receiver: Annotated[str, Field(max_length=32)] = Field(
        "", description="Names its URL or address (a digest): who is meant, whatever place that has by now."
    )
    state: DeliveryState = Field(
        description="Pending; Delivered; Failed: given up; Gone: the receiver answered 410 and is told no more."
    )
    attempts: Annotated[int, Field(ge=0)] = Field(0, description="Attempts so far.")
    last_attempt_time: Timestamp | None = Field(None, description="When the last one was made.")
    next_attempt_time: Timestamp | None = Field(None, description="While Pending: when the next one is due.")
    message: Annotated[str, Field(max_length=512)] = Field("", description="What the last one came to.")

    @model_serializer(mode="wrap")
    def _without_nulls(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """In a list a null is no removal, as it is elsewhere in a merge patch, but a value that the API refuses."""
        return {name: value for name, value in dump(self).items() if value is not None}


class Notification(Model):
    """Something that receivers are told, and how far that is."""

    id: Annotated[str, Field(max_length=64)] = Field(description="The webhook-id: the same for every attempt.")
    event: NotifyEvent = Field(description="What is told.")
    time: Timestamp = Field(description="When it came about.")
    reason: Annotated[str, Field(max_length=64)] = Field(description="Why, as the condition said then.")
    message: Annotated[str, Field(max_length=1024)] = Field("", description="What the condition said then.")
    deliveries: Annotated[list[Delivery], Field(max_length=MAX_WEBHOOKS + MAX_MAILS)] = Field(
        description="One for each receiver."
    )
