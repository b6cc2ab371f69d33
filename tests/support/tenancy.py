"""Who may what: one row for each route of the gateway, and everything that somebody might try to be somebody else."""

import hmac
import json
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from fastapi.routing import APIRoute, APIWebSocketRoute
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.routing import Route

from batchjob.gateway.app import ROUTERS
from batchjob.gateway.ui.assets import ASSETS
from tests.support.gateway_world import key_of
from tests.support.issuer import Issuer

JOBS: Final = "/api/v1/batch-jobs"
SEED: Final = "/api/ai-annotator/batch"
UI: Final = "/admin/queues"
QUEUE: Final = "tenancy"
SIGN_IN: Final = "sign-in"  # pages send there whoever is not signed in
ITEMS: Final = [{"id": f"i{place}", "data": {"text": f"sentence {place}"}} for place in range(3)]
NOOP: Final[dict[str, Any]] = {"type": "custom", "custom": {"processor": "noop"}, "items": ITEMS}
FORM: Final = {"fields": [{"name": "mood", "type": "string"}]}
MODEL: Final = {"name": "m", "baseUrl": "http://model/v1"}
SEED_BODY: Final[dict[str, Any]] = {
    "items": ["good", {"text": "bad"}],
    "formSchema": FORM,
    "options": {"instructions": "x", "model": MODEL},
}
REPORT: Final = {"deliver": {"destination": {"url": "s3://reports/all"}}}
SCHEDULE: Final[dict[str, Any]] = {
    "schedules": ["0 9 * * 1"],
    "jobTemplate": {"spec": {"type": "report", "report": REPORT}},
}
# The owner of what is asked for, another one with the same rights, an admin, one without rights, one without a token.
ROLES: Final = ("alice", "bob", "gw-admin", "nobody", None)
Code = int | str


class Row(NamedTuple):
    """A route, what is sent to it, and what each role is answered."""

    method: str
    path: str
    codes: tuple[Code, Code, Code, Code, Code]
    body: dict[str, Any] | None = None  # JSON, or the fields of a form where it is a page
    query: str = ""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_page(self) -> bool:
        return self.path.startswith(UI)

    @property
    def is_public(self) -> bool:
        return len(set(self.codes)) == 1 and self.codes[0] not in {401, SIGN_IN}

    @property
    def is_of_a_job(self) -> bool:
        return "{job}" in self.path + self.query or "/jobs/{namespace}" in self.path


def public(method: str, path: str, code: Code = 200, body: dict[str, Any] | None = None) -> Row:
    return Row(method, path, (code,) * 5, body)


OF_A_JOB: Final = (200, 404, 200, 403, 401)
ORDER: Final = (202, 404, 202, 403, 401)
PAGE: Final = (200, 200, 200, 200, SIGN_IN)
ADMINS: Final = (403, 403, 200, 403, SIGN_IN)
TABLE: Final[tuple[Row, ...]] = (
    *(Row("GET", f"{JOBS}/{{job}}{room}", OF_A_JOB) for room in ("", "/items", "/errors", "/results", "/events")),
    *(Row("POST", f"{JOBS}/{{job}}/{verb}", ORDER) for verb in ("suspend", "resume", "cancel", "redrive")),
    Row("GET", f"{SEED}/{{job}}/status", OF_A_JOB),
    Row("GET", JOBS, (200, 200, 200, 200, 401)),
    Row("POST", JOBS, (202, 202, 202, 403, 401), NOOP),
    Row("POST", SEED, (202, 202, 202, 403, 401), SEED_BODY),
    Row("GET", "/api/v1/queues", (200, 200, 200, 403, 401)),
    Row("PATCH", "/api/v1/queues/{name}", (403, 403, 200, 403, 401), {"maxActiveJobs": 5}),
    Row("GET", "/api/v1/schedules", (200, 200, 200, 403, 401)),
    Row("POST", "/api/v1/schedules", (201, 201, 201, 403, 401), SCHEDULE),
    Row("GET", "/api/v1/audit", (403, 403, 200, 403, 401)),
    Row("WS", "/ws", ("ready", 4404, "ready", 4403, 4401), query="jobId={job}"),
    *(Row("GET", f"{UI}{path}", PAGE) for path in ("", "/jobs", "/dead-letters", "/schedules")),
    *(Row("GET", f"{UI}{path}", ADMINS) for path in ("/workers", "/audit")),
    Row("GET", f"{UI}/jobs/{{namespace}}/{{name}}", (200, 404, 200, 403, SIGN_IN)),
    Row("GET", f"{UI}/jobs/{{namespace}}/{{name}}/items/{{position}}", (200, 404, 200, 403, SIGN_IN)),
    # That the pod is not there is said to those alone who may see whose it would be.
    Row("GET", f"{UI}/jobs/{{namespace}}/{{name}}/pods/{{pod}}", (404, 404, 404, 403, SIGN_IN)),
    Row("GET", f"{UI}/live", (200, 404, 200, 403, SIGN_IN), query="job={job}"),
    # A page of 200 says what is not done: for bob there is no such BatchJob.
    Row("POST", f"{UI}/jobs/bulk", (303, 200, 303, 200, SIGN_IN), {"action": "suspend", "job": "{job}", "sure": "1"}),
    Row("POST", f"{UI}/queues/{{name}}", (403, 403, 303, 403, SIGN_IN), {"paused": "0"}),
    Row("POST", f"{UI}/schedules/{{namespace}}/{{name}}", (303, 404, 303, 404, SIGN_IN), {"suspend": "1"}),
    Row("POST", f"{UI}/schedules/{{namespace}}/{{name}}/run", (303, 404, 303, 404, SIGN_IN)),
    public("GET", f"{UI}/sign-in"),
    public("POST", f"{UI}/sign-in", 422, {"token": ""}),
    public("POST", f"{UI}/sign-out", 303, {}),
    public("GET", f"{UI}/sign-in/start", 303),
    public("GET", f"{UI}/sign-in/again", 303),
    public("GET", f"{UI}/sign-in/callback", 422),
    public("GET", f"{UI}/static/{{name}}"),
    *(public("GET", path) for path in ("/healthz", "/readyz", "/metrics")),
    *(public("GET", path) for path in ("/openapi.json", "/asyncapi.json", "/docs", "/docs/schemas")),
)


def routes() -> set[str]:
    """Every route that there is."""
    found = {"GET /openapi.json"}  # the framework's own
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIWebSocketRoute):
                found.add(f"WS {route.path}")
            else:
                assert isinstance(route, APIRoute | Route), route
                found |= {f"{method} {route.path}" for method in route.methods or ()}
    return found


def path_of(row: Row, job: str, schedule: str) -> str:
    """The path of a row, about a BatchJob (`namespace.name`) or what it else names."""
    namespace, _, name = job.partition(".")
    if "/schedules/" in row.path:
        name = schedule
    elif "/queues/{name}" in row.path.removeprefix(UI):
        name = QUEUE
    elif "/static/" in row.path:
        name = ASSETS["app.css"].path.rpartition("/")[2]
    path = row.path.format(job=job, namespace=namespace, name=name, position=1, pod="pod-0")
    return f"{path}?{row.query.format(job=job)}" if row.query else path


def body_of(row: Row, job: str) -> dict[str, Any]:
    """The body of a row; schedules have a new name each."""
    body = {name: job if value == "{job}" else value for name, value in (row.body or {}).items()}
    return body | {"name": f"s-{uuid.uuid4().hex[:8]}"} if row.body is SCHEDULE else body


async def forged_tokens(issuer: Issuer) -> dict[str, str]:
    """Tokens that would be alice's, if they were good."""
    now = int(time.time())
    key = issuer.server.keys[0]
    claims = {"iss": issuer.url, "aud": "batchjob", "sub": "alice", "exp": now + 300}
    stranger = ECKey.generate_key("P-256", {"kid": str(key.kid)})
    good = await issuer.token(sub="alice", aud="batchjob")
    head, body, signature = good.split(".")
    return {
        "expired": await issuer.token(sub="alice", aud="batchjob", exp=now - 90),
        "without an end": jwt.encode({"alg": "ES256", "kid": key.kid}, {**claims, "exp": "never"}, key),
        "for another audience": await issuer.token(sub="alice", aud="another"),
        "of another issuer": await issuer.token(sub="alice", aud="batchjob", iss="https://elsewhere.example"),
        "not valid yet": await issuer.token(sub="alice", aud="batchjob", nbf=now + 600),
        "of Kubernetes' own name": await issuer.token(sub="system:admin", aud="batchjob"),
        "of an unknown key": jwt.encode({"alg": "ES256", "kid": "unknown"}, claims, key),
        "by a stranger's key": jwt.encode({"alg": "ES256", "kid": key.kid}, claims, stranger),
        "with another body": f"{head}.{_part({**claims, 'sub': 'gw-admin'})}.{signature}",
        "without a signature": f"{head}.{body}.",
        **dict(_by_other_algorithms(key, claims)),
        "no token": "nonsense",
        "three parts of nothing": "e30.e30.e30",
        "an API key with another secret": f"bj_alice_{'x' * 43}",
        "an API key that nobody has": f"bj_unknown_{'x' * 43}",
        "an API key that is cut": key_of("alice")[:-1],
    }


def _by_other_algorithms(key: ECKey, claims: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """`none`, and HS256 where the public key is the secret."""
    for algorithm in ("none", "None"):
        yield f"alg {algorithm}", f"{_part({'alg': algorithm, 'kid': key.kid})}.{_part(claims)}."
    secrets = {"PEM": key.as_pem(private=False), "JWK": json.dumps(key.as_dict(private=False)).encode()}
    for form, secret in secrets.items():
        unsigned = f"{_part({'alg': 'HS256', 'kid': key.kid})}.{_part(claims)}"
        signature = urlsafe_b64encode(hmac.digest(secret, unsigned.encode(), "sha256")).rstrip(b"=").decode()
        yield f"alg HS256 by the public key as {form}", f"{unsigned}.{signature}"


def _part(value: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
