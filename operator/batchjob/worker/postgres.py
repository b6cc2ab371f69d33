"""A PostgreSQL that a BatchJob names: how to reach it, and what its errors mean.

This module costs 25 MB, so it is imported by the pods that have one to talk to alone.
"""

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import conninfo

from batchjob.api.source import SecretKey
from batchjob.errors import ConfigurationError
from batchjob.files.addresses import check_host
from batchjob.files.unreached import brief, explain_unreached

CONNECT_SECONDS: Final = 30
SILENCE_SECONDS: Final = 60  # a peer that acknowledges nothing for so long is gone

# Classes of SQLSTATE (PostgreSQL, appendix A) that blame the statement: another try would be refused the same way.
_WRONG: Final = ("0A", "21", "22", "23", "25", "2F", "3F", "42")
_TIMED_OUT: Final = "57014"
# What the server says at the door before it has an SQLSTATE for us; refusals, but for those that pass.
_REFUSED: Final = re.compile(r"FATAL:\s+(.+)")
_PASSING: Final = re.compile(r"starting up|shutting down|recovery mode|too many|remaining connection slots")


class Meaning(NamedTuple):
    """What an error means."""

    message: str  # it names the field
    is_wrong: bool  # what was asked for, rather than the way to the database
    lasts: bool  # only somebody can mend it


async def connection_parameters(dsn: SecretKey, mounted: Path) -> dict[str, Any]:
    """The parameters of a connection; `mounted`: the folder of the Secret.

    Its hosts are looked at as those of mail servers are. ConfigurationError without the string itself, which holds the
    password.
    """
    where = f"dsnSecretRef: key {dsn.key} of Secret {dsn.name}"
    try:
        found = conninfo.conninfo_to_dict((mounted / dsn.key).read_text().strip())
    except (psycopg.Error, OSError, UnicodeDecodeError):  # whose words may hold the password
        form = "postgresql://user:password@host:5432/database"
        raise ConfigurationError(f"{where} is no connection string of PostgreSQL: write {form}") from None
    hosts = [host for name in ("host", "hostaddr") for host in str(found.get(name) or "").split(",") if host]
    if not hosts or any(host.startswith(("/", "@")) for host in hosts):
        raise ConfigurationError(f"{where} names no host")
    for host in hosts:
        await check_host(host, where)
    limits = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": SILENCE_SECONDS * 1000}
    return {**found, **limits, "client_encoding": "utf8", "application_name": "batchjob"}


def explain(error: psycopg.Error, field: str, statement: str, limit_seconds: float) -> Meaning:
    """What an error means. `field` names the database, with `.dsnSecretRef`; `statement` is blamed for what it asks."""
    said = brief(error.diag.message_primary or str(error))
    state = error.sqlstate or ""
    if state == _TIMED_OUT:
        return Meaning(f"{statement}: took longer than {limit_seconds:.0f} s to answer", is_wrong=False, lasts=False)
    if state.startswith(_WRONG):
        return Meaning(f"{statement}: {said} (SQLSTATE {state})", is_wrong=True, lasts=True)
    if found := _REFUSED.search(str(error)):
        why, lasts = f"refused: {found[1]}", not _PASSING.search(found[1])
        return Meaning(
            f"{field}.dsnSecretRef: the database {why}: check user, password and database", is_wrong=False, lasts=lasts
        )
    why, lasts = explain_unreached(error)
    return Meaning(f"{field}.dsnSecretRef: the database cannot be reached: {why}", is_wrong=False, lasts=lasts)
