"""Object stores (S3, Google Cloud Storage, Azure Blob Storage): one way to open them, for sources and destinations.

The library costs 5 MB, so this module and those that need it are imported by the pods that reach for a bucket alone.
"""

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from batchjob.api.source import Location
from batchjob.errors import ConfigurationError
from batchjob.files.addresses import refusal, resolve
from batchjob.files.logins import sign_in
from batchjob.files.unreached import TRUST_THE_BUNDLE, Unreached, brief, explain_unreached, is_final
from batchjob.files.urls import masked

if TYPE_CHECKING:  # names for types only: the library has none of them at run time
    from obstore.store import ClientConfig, RetryConfig

# The engine tries again, counts it and shows why: the library only bridges a hiccup.
_RETRY: Final["RetryConfig"] = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
_TIMEOUT_SECONDS: Final = 60  # without a byte
_STORES: Final[dict[str, Any]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
_ENDPOINTS: Final = {"s3": "aws_endpoint", "gs": "google_base_url", "az": "azure_storage_endpoint"}

# What the library raises for a store that refuses or is not there; of Python's own, FileNotFoundError.
STORE_ERRORS: Final = (BaseError, OSError)
_HINTS: Final = {
    "root_certificate": ": check caBundleRef",
    "Account must be": ": name it as AZURE_STORAGE_ACCOUNT_NAME in the Secret of credentialsSecretRef",
    "Access Key": ": check AZURE_STORAGE_ACCOUNT_KEY in the Secret of credentialsSecretRef",
    "service account": ": check GOOGLE_SERVICE_ACCOUNT_KEY in the Secret of credentialsSecretRef",
}
_STATUS: Final = re.compile(r"status code: (\d{3})")  # the library has a class of its own for a few calls only
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SAID: Final = 200  # characters of the store's words


class Bucket(NamedTuple):
    """An opened bucket and the key that the URL names in it."""

    store: S3Store | GCSStore | AzureStore
    key: str


def open_bucket(place: Location, credentials: Path, authority: Path) -> Bucket:
    """The bucket of an s3://, gs:// or az:// URL.

    `credentials`, `authority`: folders of the references, read where the place has any. Connects to nothing yet.
    Raises ConfigurationError where a key of the Secret is missing, or the URL's key cannot be one.
    """
    for address in filter(None, (place.url, place.endpoint)):
        if not _has_a_port(address):
            raise ConfigurationError(f"{masked(address)} has a port that is no number: correct it")
    url = urlsplit(place.url)
    if url.scheme not in _STORES or not url.netloc:
        raise ConfigurationError(f"{masked(place.url)} is no URL of a bucket: write s3://, gs:// or az://bucket/key")
    options: ClientConfig = {"read_timeout": timedelta(seconds=_TIMEOUT_SECONDS), "timeout": "1h"}
    if place.endpoint:
        options["allow_http"] = place.endpoint.startswith("http://")
    if place.ca_bundle_ref:
        options["root_certificate"] = (authority / place.ca_bundle_ref.key).read_bytes()
    config = sign_in(url.scheme, place, credentials)
    if place.endpoint:
        config[_ENDPOINTS[url.scheme]] = place.endpoint
    try:
        store = _STORES[url.scheme](url.netloc, config=config, client_options=options, retry_config=_RETRY)
    except (BaseError, ValueError) as error:
        hint = next((hint for words, hint in _HINTS.items() if words in str(error)), "")
        raise ConfigurationError(f"{masked(place.url)} cannot be opened: {brief(str(error))}{hint}") from None
    return Bucket(store, _key(place.url))


def _key(url: str) -> str:
    """The key that a URL names; ConfigurationError for one that the library takes for a path that leads elsewhere."""
    key = unquote(urlsplit(url).path).strip("/")
    if key and (any(step in {"", ".", ".."} for step in key.split("/")) or _CONTROL.search(key)):
        said = "its key has an empty step, one that is . or .., or a control character"
        raise ConfigurationError(f"{masked(url)}: {said}: write a key such as a/b")
    return key


def _has_a_port(url: str) -> bool:
    """Whether its port, if it names one, is a number that a port can have."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return True


async def endpoint_refusal(place: Location) -> str | None:
    """A sentence where the endpoint is at an address no worker may reach. A name without one is not ours to report."""
    url = urlsplit(place.endpoint or "")
    if not url.hostname or not _has_a_port(place.endpoint or ""):
        return None  # or nothing that could be asked; whoever opens it says so
    try:
        addresses = await resolve(url.hostname, url.port or 0)
    except (OSError, UnicodeError):
        return None
    return refusal(url.hostname, addresses)


def explain(url: str, place: Location, error: Exception) -> Unreached:
    """What the store's error means, and what to do; names the URL and the endpoint."""
    where = f"{url} at {masked(place.endpoint)}" if place.endpoint else url
    text = str(error)
    if found := _STATUS.search(text):
        return _explain_status(where, int(found[1]), _said(text))
    why, lasts = explain_unreached(text, TRUST_THE_BUNDLE)
    return Unreached(f"{where} cannot be reached: {why}", lasts)


def _explain_status(where: str, status: int, said: str) -> Unreached:
    lasts = is_final(status)
    match status:
        case 404:
            return Unreached(f"{where} does not exist (404{said}): check the bucket and the key", lasts)
        case 401 | 403:
            hint = "check the keys in credentialsSecretRef and their rights"
            return Unreached(f"{where} was refused ({status}{said}): {hint}", lasts)
        case _:
            return Unreached(f"{where} answered {status}{said}", lasts)


def _said(text: str) -> str:
    """The store's own words, out of its XML."""
    words = [found[1] for tag in ("Code", "Message") if (found := re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL))]
    return f" {' '.join(': '.join(words).split())}"[:_SAID] if words else ""
