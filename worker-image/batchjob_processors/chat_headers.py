"""Headers of a chat endpoint: those of a Secret that go with a request, and what an answer's say about limits.

The latter are nobody's standard but Retry-After (RFC 9110); the names x-ratelimit-… are OpenAI's, and most that speak
as it does use them.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from batchjob.api.blocks.ai_batch import ModelEndpoint
from batchjob.api.run import Purpose
from batchjob.worker import ConfigurationError, Context

_NAME: Final = re.compile(r"[-A-Za-z0-9!#$%&'*+.^_`|~]+")  # RFC 9110 §5.6.2
_VALUE: Final = re.compile(r"[ -~]+")
_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS: Final = (86_400.0, 3600.0, 60.0, 1.0, 0.001)  # of its groups, in seconds
_MOMENTS_FROM: Final = 1e9  # 2001, or a duration of 31 years


def secret_headers(model: ModelEndpoint, context: Context) -> dict[str, str]:
    """The headers of `headersSecretRef`, each key of the Secret one; ConfigurationError for one that cannot be."""
    if model.headers_secret_ref is None:
        return {}
    headers = {}
    for path in sorted(context.reference(Purpose.MODEL_HEADERS).iterdir()):
        if path.name.startswith(".."):  # Kubernetes' own, of a mounted Secret
            continue
        said = f"spec.aiBatch.model.headersSecretRef: key {path.name}"
        if not _NAME.fullmatch(path.name):
            raise ConfigurationError(f"{said} cannot be a header: its name is that of a header, such as api-key")
        headers[path.name] = secret_value(path, said)
    return headers


def secret_value(path: Path, said: str) -> str:
    """A key of a Secret that goes into a header; ConfigurationError, without the value, where it cannot."""
    value = path.read_bytes().decode("latin-1").strip()
    # Checked here, since who sends it would quote all of it.
    if not _VALUE.fullmatch(value):
        raise ConfigurationError(f"{said} cannot be a header: write its value as one line of visible ASCII")
    return value


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by Retry-After, a number or a date by the server's own clock; None where it says neither."""
    said = headers.get("retry-after", "")
    try:
        return max(float(said), 0.0)
    except ValueError:
        until, now = _date(said), _date(headers.get("date", "")) or datetime.now(UTC)
        return max((until - now).total_seconds(), 0.0) if until else None


def hold_seconds(headers: Mapping[str, str]) -> float:
    """Seconds until another request makes sense, after an answer that says that nothing is left of a limit; else 0."""
    spent = [unit for unit in ("requests", "tokens") if headers.get(f"x-ratelimit-remaining-{unit}", "").strip() == "0"]
    return max((_reset_seconds(headers, f"x-ratelimit-reset-{unit}") for unit in spent), default=0.0)


def _reset_seconds(headers: Mapping[str, str], name: str) -> float:
    """Most name a duration, and some the moment, in seconds since 1970."""
    seconds = duration(headers.get(name, ""))
    if seconds < _MOMENTS_FROM:
        return seconds
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max(seconds - now.timestamp(), 0.0)


def duration(text: str) -> float:
    """Seconds of `6m0s`, `1.5s`, `20ms` or a plain number; 0 for anything else."""
    text = text.strip()
    if found := _DURATION.fullmatch(text):
        return sum(float(number) * unit for number, unit in zip(found.groups(), _UNITS, strict=True) if number)
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return seconds if seconds > 0 else 0.0  # NaN is not


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
