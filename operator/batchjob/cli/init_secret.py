"""`batchjob init-secret <namespace> <name> …`: Secrets with a random password each, made once.

The chart runs it before the operator starts. Nothing else may make such a password: a chart that draws a random value
when it is rendered gives another one at each rendering, which a GitOps controller sees as drift and applies. Creating
is all the right it needs: whoever finds the name taken has nothing to do. It does not try again by itself, because
Kubernetes starts an init container that failed again.
"""

import asyncio
import base64
import secrets
import sys
from collections.abc import Sequence
from typing import Any, Final

from batchjob.errors import AlreadyExists, BatchJobError
from batchjob.kube import SECRETS, Access, Kube

KEY: Final = "password"
PASSWORD_BYTES: Final = 32  # 256 bits: nobody types it


def main(namespace: str, names: Sequence[str]) -> int:
    """Make the Secrets; 0 when they are there, 1 (and a sentence on stderr) when one could not be made."""
    try:
        asyncio.run(_create(namespace, names))
    except BatchJobError as error:
        print(f"batchjob init-secret: {namespace}/{', '.join(names)}: {error}", file=sys.stderr)
        return 1
    return 0


async def _create(namespace: str, names: Sequence[str]) -> None:
    async with Kube(Access.find()) as kube:
        for name in names:
            try:
                await kube.create(SECRETS, namespace, build_secret(name, secrets.token_hex(PASSWORD_BYTES)))
                print(f"Secret {namespace}/{name} created")
            except AlreadyExists:
                print(f"Secret {namespace}/{name} exists already")


def build_secret(name: str, password: str) -> dict[str, Any]:
    """The Secret; immutable, because Redis and the operator read it at their start only."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "batchjob-operator"}},
        "type": "Opaque",
        "immutable": True,
        "data": {KEY: base64.b64encode(password.encode()).decode()},
    }
