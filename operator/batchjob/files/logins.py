"""How a worker signs in at an object store: by a mounted Secret, by its environment, or not at all.

The keys of the Secret have the names that the library knows as variables. Only those listed here are read: others would
turn the library to endpoints that nobody checked.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

from batchjob.api.source import Location
from batchjob.errors import ConfigurationError
from batchjob.files.secrets import read_secret

DEFAULT_REGION: Final = "us-east-1"


class Cloud(NamedTuple):
    """What signs in at one kind of store."""

    ways: tuple[tuple[str, ...], ...]  # keys that do it together
    optional: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()  # with one of them in the environment the library does it by itself


_ACCOUNT: Final = "AZURE_STORAGE_ACCOUNT_NAME"
CLOUDS: Final = {
    "s3": Cloud(
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),), ("AWS_REGION", "AWS_SESSION_TOKEN"), ("AWS_ACCESS_KEY_ID",)
    ),
    "gs": Cloud(
        (("GOOGLE_SERVICE_ACCOUNT_KEY",),),
        (),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"),
    ),
    "az": Cloud(
        (
            (_ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY"),
            (_ACCOUNT, "AZURE_STORAGE_SAS_TOKEN"),
            (_ACCOUNT, "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"),
        ),
        (),
        (
            *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
            *("AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"),
        ),
    ),
}


def sign_in(scheme: str, place: Location, folder: Path) -> dict[str, str | bool]:
    """The options that sign in, by the library's names. ConfigurationError where a key of the Secret is missing."""
    cloud = CLOUDS[scheme]
    config: dict[str, str | bool] = {}
    if scheme == "s3":
        config["aws_virtual_hosted_style_request"] = False
        config["aws_region"] = os.environ.get("AWS_REGION", DEFAULT_REGION)
    if place.credentials_secret_ref is None:
        if not any(name in os.environ for name in cloud.variables):
            # Unsigned, as a public bucket wants it: the library would else ask the node's metadata service to sign in.
            config["skip_signature"] = True
        return config
    where = f"Secret {place.credentials_secret_ref.name}"
    found = {name: read_secret(path, where) for name in _names(cloud) if (path := folder / name).exists()}
    if not any(set(way) <= found.keys() for way in cloud.ways):
        raise ConfigurationError(_complain(place, cloud, found))
    return config | {name.lower(): text for name, text in found.items()}


def _names(cloud: Cloud) -> list[str]:
    return list(dict.fromkeys([*(name for way in cloud.ways for name in way), *cloud.optional]))


def _complain(place: Location, cloud: Cloud, found: dict[str, str]) -> str:
    secret = place.credentials_secret_ref.name if place.credentials_secret_ref else ""
    nearest = min(cloud.ways, key=lambda way: len(set(way) - found.keys()))
    missing = next(name for name in nearest if name not in found)
    others = [" and ".join(way) for way in cloud.ways if way != nearest]
    hint = f" (or {', or '.join(others)})" if others else ""
    return f"Secret {secret} has no key {missing}, which {place.url} needs: add it{hint}"
