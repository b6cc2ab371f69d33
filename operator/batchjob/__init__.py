"""Batch jobs on Kubernetes: an operator, its item store and its workers.

`from batchjob import Client` is the HTTP API from Python. It is imported when it is asked for: whoever needs something
else pays nothing for it, and needs nothing of its extra.
"""

TYPE_CHECKING = False  # what a type checker takes for true; `typing` itself is not worth its import here
if TYPE_CHECKING:
    from batchjob.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from batchjob import client  # noqa: PLC0415 - only now

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
