"""The gateway's settings, from environment variables that begin with `BATCHJOB_`."""

import json
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from batchjob.gateway.links import LinkTemplate
from batchjob.gateway.tokens import checked_algorithms
from batchjob.store.settings import StoreSettings

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class GatewaySettings(StoreSettings):
    """Every setting; each is the variable of its name in capitals, such as BATCHJOB_LISTEN_PORT."""

    listen_host: str = Field("0.0.0.0", description="Address of the HTTP API.")  # noqa: S104 - a Service is in front of the pod
    listen_port: int = Field(8080, ge=0, le=65535, description="Its port.")
    drain_seconds: int = Field(20, ge=0, description="How long requests that have begun may take after a SIGTERM.")

    watch_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Namespaces whose schedules and pods the pages list, separated by commas; default: all.",
    )
    default_namespace: str = Field("default", description="Namespace of what is made by those whose token names none.")
    oidc_issuer: str | None = Field(
        None, description="URL of the OIDC issuer whose tokens are taken, as their iss says it; default: none."
    )
    oidc_audience: str | None = Field(
        None, description="What aud of its tokens has to name; needed with BATCHJOB_OIDC_ISSUER."
    )
    oidc_algorithms: Annotated[tuple[str, ...], NoDecode] = Field(
        ("RS256", "ES256"),
        description="Algorithms of its signatures, separated by commas: RS, PS, ES and EdDSA ones; never none or HS.",
    )
    oidc_client_id: str | None = Field(
        None,
        description="Our client at the issuer: people sign in to the admin UI there. Its ID tokens are taken besides "
        "those for BATCHJOB_OIDC_AUDIENCE. Needs BATCHJOB_PUBLIC_URL; default: a token in a form.",
    )
    oidc_client_secret: SecretStr | None = Field(None, description="Its secret; default: a public client, with PKCE.")
    oidc_scopes: Annotated[tuple[str, ...], NoDecode] = Field(
        ("openid", "profile", "email"), description="What is asked for there, separated by commas; openid among them."
    )
    oidc_jwks_uri: str | None = Field(None, description="Where its keys are; default: as its discovery document says.")
    oidc_ca_file: Path | None = Field(None, description="Certificates to trust for it; default: the system's.")
    oidc_username_claim: str = Field(
        "sub", description="The claim that names the user. This and the next two as in the API server's settings."
    )
    oidc_username_prefix: str | None = Field(
        None, description="What user names begin with; default: the issuer and #, and nothing where the claim is email."
    )
    oidc_groups_claim: str | None = Field(None, description="The claim with the groups; default: none.")
    oidc_groups_prefix: str = Field("", description="What their names begin with.")
    oidc_namespace_claim: str | None = Field(
        None, description="The claim that names the namespace of what a user makes; default: none."
    )
    token_review: bool = Field(
        True, description="Take tokens that Kubernetes knows, such as those of ServiceAccounts (TokenReview)."
    )
    token_audiences: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Audiences, of which such a token needs one, separated by commas; default: the API server's."
    )
    api_keys_secret: str | None = Field(
        None,
        description="Secret with the hashes of API keys, in BATCHJOB_POD_NAMESPACE; default: there are no API keys.",
    )
    pod_namespace: str = Field("default", description="Namespace of that Secret.")
    public_url: str | None = Field(
        None,
        description="Where browsers reach us, such as https://batchjob.example.org; needed with "
        "BATCHJOB_OIDC_CLIENT_ID.",
    )
    hsts_seconds: int = Field(
        31_536_000, ge=0, description="For how long browsers insist on TLS (Strict-Transport-Security); 0: not told."
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (),
        description="Networks, separated by commas, whose X-Forwarded-For is believed, such as that of an Ingress; "
        "default: none, and where requests come from is the other end of the connection.",
    )
    failed_sign_ins_per_minute: int = Field(
        30,
        ge=1,
        description="Tokens from one address that are refused; then none that is not known from it is looked at.",
    )
    failed_sign_ins_in_all: int = Field(600, ge=1, description="The same a minute, from everywhere.")

    annotator_file: Path | None = Field(
        None,
        description="A YAML file with the fields of a spec that POST /api/ai-annotator/batch begins with, such as "
        "aiBatch.model and aiBatch.instructions; default: its options say all.",
    )
    staging_url: str | None = Field(
        None,
        description="Where items go that are too many for a BatchJob: s3://bucket/prefix, gs:// or az:// alike, or "
        "file:///path of a mounted claim; this installation's alone. Default: such requests are refused.",
    )
    staging_endpoint: str | None = Field(None, description="Endpoint of that bucket; default: the cloud's own.")
    staging_secret: str | None = Field(
        None,
        description="Secret with its keys, under this name in the namespace of each BatchJob: workers read by it. "
        "Default: gateway and workers sign in by their environment, or not at all.",
    )
    staging_ca_config_map: str | None = Field(
        None, description="ConfigMap with the certificates to trust for it as ca.crt, in each such namespace too."
    )
    staging_claim: str | None = Field(
        None, description="For file:///: the claim that workers mount at that path, in the namespace of each BatchJob."
    )
    staging_references_dir: Path = Field(
        Path("/etc/batchjob-staging"), description="Where that Secret (credentials) and ConfigMap (ca) are mounted."
    )
    staging_sweep_seconds: int = Field(
        1800, ge=1, description="How often what no BatchJob needs any more is removed from there."
    )
    uploads_max_bytes: int = Field(
        2**30, ge=2**19, le=2**30, description="Of a body whose items are staged, unpacked; a source may have as many."
    )
    uploads_max_items: int = Field(10_000_000, ge=1, description="Items of such a body.")
    uploads_at_once: int = Field(
        4,
        ge=1,
        description="Such bodies that a gateway takes at once, each in some 25 MB of memory; half of them of one user.",
    )
    pod_logs: bool = Field(
        False, description="Show logs of worker pods to whoever may get pods/log; the account needs that right too."
    )
    ui_links: Annotated[tuple[LinkTemplate, ...], NoDecode] = Field(
        (),
        description="Links from a BatchJob's page, as JSON: name, and url with {namespace}, {name}, {owner}, {queue}, "
        "{started} and {ended} in it.",
    )
    reads_per_minute: int = Field(600, ge=1, description="Requests of one user that read.")
    submits_per_minute: int = Field(60, ge=1, description="BatchJobs and schedules of one user that are made.")
    ai_submits_per_minute: int = Field(
        20,
        ge=1,
        description="Of these, those of type ai-batch, redriven ones too. What a form of the admin UI makes counts as "
        "one change.",
    )
    changes_per_minute: int = Field(120, ge=1, description="Other changes of one user, such as cancel.")

    kube_qps: float = Field(200, gt=0, description="Calls a second to the Kubernetes API.")
    kube_burst: int = Field(400, ge=1, description="Calls at once after a quiet time.")

    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")

    @field_validator(
        *("watch_namespaces", "oidc_algorithms", "oidc_scopes", "token_audiences", "trusted_proxies"), mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("ui_links", mode="before")
    @classmethod
    def _read_links(cls, value: object) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"is no JSON ({error}): write [{{name: …, url: …}}] as JSON") from None

    @field_validator("oidc_algorithms")
    @classmethod
    def _algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        checked_algorithms(value)
        return value

    @field_validator("oidc_issuer", "oidc_jwks_uri")
    @classmethod
    def _over_tls(cls, value: str | None) -> str | None:
        """Keys that came over plain HTTP are anybody's."""
        if value is not None and not value.startswith(("https://", "http://127.0.0.1:", "http://[::1]:")):
            raise ValueError("has to begin with https://")
        return value

    @field_validator("oidc_scopes")
    @classmethod
    def _openid(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in value:
            raise ValueError("needs openid: without it an issuer hands out no ID token")
        return value

    @field_validator("public_url")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        """Codes and cookies that went over plain HTTP are anybody's."""
        if value is None:
            return None
        parts = urlsplit(value)
        local = parts.scheme == "http" and parts.hostname in LOCAL_HOSTS
        if not (parts.scheme == "https" or local) or not parts.netloc or parts.path not in {"", "/"} or parts.query:
            raise ValueError("has to be https://host, without a path (or http://localhost:port)")
        return value.rstrip("/")

    @field_validator("oidc_audience")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value == "":
            raise ValueError("may not be empty: tokens for others would be taken")
        return value

    @field_validator("staging_url")
    @classmethod
    def _is_a_place(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("s3://", "gs://", "az://", "file:///")):
            raise ValueError("has to begin with s3://, gs://, az:// or file:///")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.staging_url and self.staging_url.startswith("file:") != (self.staging_claim is not None):
            raise ValueError("BATCHJOB_STAGING_CLAIM belongs to a BATCHJOB_STAGING_URL that begins with file:///")
        if self.oidc_issuer and not self.oidc_audience:
            raise ValueError("BATCHJOB_OIDC_ISSUER needs BATCHJOB_OIDC_AUDIENCE: else tokens for others would be taken")
        if self.oidc_client_id and not (self.oidc_issuer and self.public_url):
            raise ValueError("BATCHJOB_OIDC_CLIENT_ID needs BATCHJOB_OIDC_ISSUER and BATCHJOB_PUBLIC_URL")
        return self
