"""Mistakes in specs and inputs of type report, and what is said of each."""

from typing import Any, Final

from tests.support.bad_specs import DATABASE, TOKEN, Bad, section

QUERY: Final = {"query-0": {"dsn": DATABASE}}
FIELD: Final = "spec.report.sections[0].sql"


def mail(**fields: Any) -> dict[str, Any]:
    """`fields` over the block's mail."""
    return {"deliver": {"email": fields}}


REPORT: Final = (
    Bad(
        "report-no-address",
        ("spec.report.deliver.email.to[1] is not an address: 'nobody'",),
        mail(to=["boss@mail.example", "nobody"]),
    ),
    Bad("report-no-sender", ("spec.report.deliver.email.from is not an address",), mail(**{"from": "Reports"})),
    Bad(
        "report-nobody-there",
        ("spec.report.deliver.email.smtp: 127.0.0.1:1 cannot be used", "check host and port"),
        mail(smtp={"port": 1}),
    ),
    Bad(
        "report-metadata",
        ("spec.report.deliver.email.smtp.host", "link-local address, where workers may not go: name another host"),
        mail(smtp={"host": "169.254.169.254"}),
    ),
    Bad(
        "report-wrong-column",
        (FIELD, 'column "nmae" does not exist', "SQLSTATE 42703"),
        section("SELECT nmae FROM pg_class"),
        mounts=QUERY,
    ),
    Bad("report-no-query", (FIELD, "syntax error at or near", "SQLSTATE 42601"), section("SELEKT 1"), mounts=QUERY),
    Bad(
        "report-writes",
        (FIELD, "must not contain data-modifying statements", "SQLSTATE 0A000"),
        section("WITH gone AS (DELETE FROM pg_class RETURNING 1) SELECT * FROM gone"),
        mounts=QUERY,
    ),
    Bad(
        "report-one-name-twice",
        (FIELD, "names the column 'a' twice: rename one by AS"),
        section("SELECT 1 AS a, 2 AS a"),
        mounts=QUERY,
    ),
    Bad(
        "report-no-connection-string",
        (FIELD, "key dsn of Secret shop is no connection string of PostgreSQL: write postgresql://"),
        section("SELECT 1"),
        mounts={"query-0": {"dsn": f"{TOKEN} is not one"}},
    ),
    Bad(
        "report-unknown-database-host",
        (f"{FIELD}.dsnSecretRef: the database cannot be reached", "check it"),
        section("SELECT 1"),
        mounts={"query-0": {"dsn": f"postgresql://u:{TOKEN}@nowhere.invalid/shop"}},
    ),
)
