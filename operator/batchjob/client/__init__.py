"""The HTTP API from Python: `Client` and `AsyncClient`, one core and two thin shells.

    calls, live      what is sent, repeated and read: generators of steps, pure
    sync_client      carries the steps out, blocking
    async_client     the same under asyncio

It needs no more than httpx2 and msgspec, and nothing of the operator, the gateway or Kubernetes.
"""

try:
    import httpx2  # noqa: F401 - a clear word where it is missing
except ModuleNotFoundError:
    raise ImportError("the client needs httpx2: pip install 'batchjob[client]'") from None

from batchjob.client.async_client import AsyncClient
from batchjob.client.errors import (
    ApiError,
    BadRequest,
    ClientError,
    Conflict,
    Fault,
    Forbidden,
    Gone,
    Invalid,
    KeyReused,
    NoAnswer,
    NotFound,
    RateLimited,
    ServerError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    WaitTimeout,
)
from batchjob.client.live import Event, Progress
from batchjob.client.retries import Retries
from batchjob.client.sync_client import Client
from batchjob.core.answers import Accepted, ErrorKind, Errors, FoundJob, Job, JobItem, Queue, Result, Schedule

__all__ = [
    "Accepted",
    "ApiError",
    "AsyncClient",
    "BadRequest",
    "Client",
    "ClientError",
    "Conflict",
    "ErrorKind",
    "Errors",
    "Event",
    "Fault",
    "Forbidden",
    "FoundJob",
    "Gone",
    "Invalid",
    "Job",
    "JobItem",
    "KeyReused",
    "NoAnswer",
    "NotFound",
    "Progress",
    "Queue",
    "RateLimited",
    "Result",
    "Retries",
    "Schedule",
    "ServerError",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "WaitTimeout",
]
