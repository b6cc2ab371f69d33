"""The gateway: the HTTP API, one ASGI process of any number of replicas, none of which knows anything by itself.

    envelope (id, headers, last resort) ─► routes ─► who asks ─► what they may ─► custom resources, the store

Truth lies in the custom resources and the store: it creates the former, reads both, and may be killed at any line.
What is refused leaves as a problem (`problems`), never as a stack trace.
"""

from batchjob.gateway.process import main

__all__ = ["main"]
