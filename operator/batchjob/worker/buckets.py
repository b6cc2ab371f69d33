"""Object stores that speak S3: one way to open them, for sources and destinations."""

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from batchjob.api.source import Location
from batchjob.errors import ConfigurationError
from batchjob.worker.addresses import refusal, resolve

if TYPE_CHECKING:  # names for types only: the library has none of them at run time
    from obstore.store import ClientConfig, RetryConfig, S3Config

# The engine tries again, counts it and shows why: the library only bridges a hiccup.
_RETRY: Final["RetryConfig"] = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
_TIMEOUT_SECONDS: Final = 60  # without a byte
DEFAULT_REGION: Final = "us-east-1"


# What the library raises for a store that refuses or is not there; of Python's own, FileNotFoundError.
STORE_ERRORS: Final = (BaseError, OSError)


class Bucket(NamedTuple):
    """An opened bucket and the key that the URL names in it."""

    store: S3Store
    key: str


def open_bucket(place: Location, credentials: Path, authority: Path) -> Bucket:
    """The bucket of an s3:// URL. `credentials`, `authority`: folders of the references, read where the place has any.

    Connects to nothing yet. Raises ConfigurationError where a key of the Secret is missing.
    """
    url = urlsplit(place.url)
    if url.scheme != "s3" or not url.netloc:
        raise ConfigurationError(f"{place.url} is no URL of a bucket: write s3://bucket/key")
    options: ClientConfig = {"read_timeout": timedelta(seconds=_TIMEOUT_SECONDS), "timeout": "1h"}
    if place.endpoint:
        options["allow_http"] = place.endpoint.startswith("http://")
    if place.ca_bundle_ref:
        options["root_certificate"] = (authority / place.ca_bundle_ref.key).read_bytes()
    config = _login(place, credentials)
    try:
        store = S3Store(url.netloc, endpoint=place.endpoint, config=config, client_options=options, retry_config=_RETRY)
    except (BaseError, ValueError) as error:
        raise ConfigurationError(f"{place.url} cannot be opened: {_brief(str(error))}") from None
    return Bucket(store, unquote(url.path.lstrip("/")))


def _login(place: Location, folder: Path) -> "S3Config":
    config: S3Config = {"region": os.environ.get("AWS_REGION", DEFAULT_REGION), "virtual_hosted_style_request": False}
    if place.credentials_secret_ref is None:
        if "AWS_ACCESS_KEY_ID" not in os.environ:  # which may come by spec.worker.envFrom
            # Unsigned, as a public bucket wants it: the library would else ask the node's metadata service to sign in.
            config["skip_signature"] = True
        return config
    config["access_key_id"] = _key(place, folder, "AWS_ACCESS_KEY_ID")
    config["secret_access_key"] = _key(place, folder, "AWS_SECRET_ACCESS_KEY")
    if (folder / "AWS_REGION").exists():
        config["region"] = _key(place, folder, "AWS_REGION")
    if (folder / "AWS_SESSION_TOKEN").exists():
        config["session_token"] = _key(place, folder, "AWS_SESSION_TOKEN")
    return config


def _key(place: Location, folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text().strip()
    except FileNotFoundError:
        secret = place.credentials_secret_ref.name if place.credentials_secret_ref else ""
        raise ConfigurationError(f"Secret {secret} has no key {name}, which {place.url} needs: add it") from None


async def endpoint_refusal(place: Location) -> str | None:
    """A sentence where the endpoint is at an address no worker may reach. A name without one is not ours to report."""
    url = urlsplit(place.endpoint or "")
    if not url.hostname:
        return None
    try:
        addresses = await resolve(url.hostname, url.port or 0)
    except OSError:
        return None
    return refusal(url.hostname, addresses)


def explain(url: str, place: Location, error: Exception) -> str:
    """What the store's error means, and what to do; names the URL and the endpoint."""
    where = f"{url} at {place.endpoint}" if place.endpoint else url
    match error:
        case FileNotFoundError():
            return f"{where} does not exist (404): check the bucket and the key"
        case PermissionDeniedError() | UnauthenticatedError():
            return f"{where} was refused (401 or 403): check the keys in credentialsSecretRef and their rights"
        case _:
            return f"{where} cannot be reached: {_brief(str(error))}"


def _brief(text: str) -> str:
    """The first line that says something: the library appends its own call tree."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:300] if lines else "no reason given"
