"""The operator's settings, from environment variables that begin with `BATCHJOB_`."""

import socket
from typing import Annotated, Self

from pydantic import Field, IPvAnyNetwork, PositiveFloat, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from batchjob import traces
from batchjob.api.blocks.email import SmtpTls
from batchjob.api.notify import Address
from batchjob.api.pods import Variant
from batchjob.api.run import StoreAccess
from batchjob.controller.begin import PlanSettings
from batchjob.controller.leader import LeaseSettings, lease_duration
from batchjob.controller.manifests import PodSettings
from batchjob.controller.notify.mails import Server
from batchjob.controller.notify.outbox import OutboxSettings
from batchjob.controller.status import Pace
from batchjob.errors import ConfigurationError
from batchjob.store.settings import PREFIX, StoreSettings


class Settings(StoreSettings):
    """Every setting; each is the variable of its name in capitals, such as BATCHJOB_STORE_URL."""

    worker_store_url: str | None = Field(
        None, description="The store as worker pods reach it; default: BATCHJOB_STORE_URL."
    )

    worker_image: str = Field(description="Image of worker pods whose BatchJob names none.")
    worker_image_parquet: str | None = Field(
        None,
        description="Image of worker pods for export.format parquet; default: BATCHJOB_WORKER_IMAGE, "
        "which may lack pyarrow.",
    )
    worker_image_report: str | None = Field(
        None,
        description="Image of worker pods for report.formats pdf; default: BATCHJOB_WORKER_IMAGE, "
        "which may lack typst.",
    )
    worker_image_pull_policy: str = Field(
        "IfNotPresent", pattern="^(Always|IfNotPresent|Never)$", description="imagePullPolicy of worker pods."
    )
    worker_image_pull_secrets: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Secrets to pull images of worker pods with, where spec.worker names none, separated by commas; "
        "they have to be in the BatchJob's namespace.",
    )
    worker_labels: dict[str, str] = Field({}, description="Labels of worker pods besides our own, as a JSON object.")
    worker_annotations: dict[str, str] = Field({}, description="Annotations of worker pods, as a JSON object.")
    worker_copied_labels: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Labels of a BatchJob that its Jobs and pods get too, such as a cost centre: their keys, separated "
        "by commas.",
    )
    openshift: bool = Field(
        False, description="Worker pods do not name the user 65532: OpenShift gives each namespace users of its own."
    )
    grace_seconds: int = Field(30, ge=1, description="terminationGracePeriodSeconds of worker pods.")
    linger_seconds: float = Field(
        60, ge=0, description="How long after its end a BatchJob keeps what workers need that have not heard of it."
    )
    job_ttl_seconds: int = Field(86400, ge=60, description="When Kubernetes removes an ended child Job and its pods.")

    reports_on_all: bool = Field(
        False,
        description="Make reports with scope all: for an installation where admission checks who may have one, as with "
        "the chart's policies.reports.",
    )

    results_limit_bytes: int = Field(
        256 * 1024**2,
        ge=1024**2,
        description="Results that a BatchJob may have in the store. Above: it fails, reason ResultsTooLarge; with a "
        "spec.results.destination nothing new starts until the destination takes some.",
    )

    watch_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Namespaces to serve, separated by commas; default: all."
    )
    workers: int = Field(16, ge=1, description="BatchJobs reconciled at the same time.")
    kube_qps: float = Field(500, gt=0, description="Calls a second to the Kubernetes API, watches and Lease left out.")
    kube_burst: int = Field(1000, ge=1, description="Calls at once after a quiet time.")

    progress_seconds: float = Field(5, gt=0, description="Shortest time between two progress writes of a BatchJob.")
    progress_percent: float = Field(1, ge=0, description="Smallest progress worth a write of its own.")
    progress_max_seconds: float = Field(30, gt=0, description="After this, any progress is worth a write.")

    relist_seconds: float = Field(300, gt=0, description="How often all names are compared with what is known.")
    sweep_seconds: float = Field(60, gt=0, description="How often what deleted BatchJobs left in the store is removed.")
    users_seconds: float = Field(5, gt=0, description="How often the store's users are compared with the runs.")

    notify_allowed_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = Field(
        (),
        description="Networks besides public addresses whose hosts spec.notify may name, such as 10.0.0.0/8, separated "
        "by commas; default: none, so that users reach nothing through the operator that they could not reach.",
    )
    notify_retry_seconds: Annotated[tuple[PositiveFloat, ...], NoDecode] = Field(
        "5,300,1800,7200,18000,36000,50400,72000,86400",
        validate_default=True,
        description="Waits after attempts to tell a receiver of spec.notify that failed; then it is given up.",
    )
    smtp_host: str | None = Field(None, description="Mail server of spec.notify.email where spec.notify names none.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its port.")
    smtp_tls: SmtpTls = Field(SmtpTls.STARTTLS, description="starttls, tls (from the first byte) or none.")
    smtp_from: Address | None = Field(None, description="Address of the sender; needed with BATCHJOB_SMTP_HOST.")
    smtp_username: str | None = Field(None, description="Who signs in there; default: nobody.")
    smtp_password: SecretStr | None = Field(None, description="The password.")

    lease_name: str = Field("batchjob-operator", description="Name of the Lease that elects the leader.")
    lease_seconds: float = Field(15, gt=0, description="How long a silent leader keeps the Lease.")
    lease_renew_seconds: float = Field(10, gt=0, description="Without a renewal for so long, a leader steps down.")
    lease_retry_seconds: float = Field(2, gt=0, description="Time between renewals; a standby looks twice as often.")

    pod_name: str = Field(default_factory=socket.gethostname, description="Our identity in the Lease.")
    pod_namespace: str = Field("default", description="Namespace of the Lease.")
    probe_host: str = Field("0.0.0.0", description="Address of /healthz, /readyz and /metrics.")  # noqa: S104 - kubelet asks from outside the pod
    probe_port: int = Field(8080, ge=0, description="Port of /healthz, /readyz and /metrics.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")

    @field_validator(
        "watch_namespaces",
        "worker_image_pull_secrets",
        "worker_copied_labels",
        "notify_allowed_networks",
        "notify_retry_seconds",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_leader(self) -> Self:
        """A leader that stopped renewing has to be done before another may begin."""
        whole = lease_duration(self.lease_seconds)
        if not self.lease_retry_seconds < self.lease_renew_seconds < whole:
            lease = f"{PREFIX}LEASE"
            raise ValueError(
                f"{lease}_RETRY_SECONDS ({self.lease_retry_seconds:g}) must be less than {lease}_RENEW_SECONDS "
                f"({self.lease_renew_seconds:g}), and that less than {lease}_SECONDS ({whole}, in whole seconds): "
                "else two replicas may lead at the same time, or none for long. Set them so; 2, 10 and 15 are usual."
            )
        return self

    def worker_store(self) -> StoreAccess:
        """The way of worker pods to the store, without a login."""
        return StoreAccess(url=self.worker_store_url or self.store_url, ca=self.store().ca)

    def smtp(self) -> Server | None:
        """The mail server for whoever names none."""
        if not self.smtp_host:
            return None
        if not self.smtp_from:
            raise ConfigurationError(
                f"settings: {PREFIX}SMTP_FROM: {PREFIX}SMTP_HOST needs the sender's address, set it"
            )
        password = self.smtp_password.get_secret_value() if self.smtp_password else ""
        login = (self.smtp_username, password) if self.smtp_username else None
        return Server(self.smtp_host, self.smtp_port, self.smtp_tls, self.smtp_from, login, trusted=True)

    def lease(self) -> LeaseSettings:
        """How the leader is elected."""
        return LeaseSettings(
            namespace=self.pod_namespace,
            name=self.lease_name,
            identity=self.pod_name,
            seconds=self.lease_seconds,
            renew_seconds=self.lease_renew_seconds,
            retry_seconds=self.lease_retry_seconds,
        )

    def outbox(self) -> OutboxSettings:
        """Whom notifications may reach, and when they are tried again."""
        return OutboxSettings(self.notify_allowed_networks, self.notify_retry_seconds, self.smtp())

    def plan(self) -> PlanSettings:
        """What plans are made by."""
        variants = {Variant.PARQUET: self.worker_image_parquet, Variant.REPORT: self.worker_image_report}
        pods = PodSettings(
            image=self.worker_image,
            image_pull_policy=self.worker_image_pull_policy,
            grace_seconds=self.grace_seconds,
            job_ttl_seconds=self.job_ttl_seconds,
            log_level=self.log_level,
            variables=traces.environment(),
            pull_secrets=self.worker_image_pull_secrets,
            variants={variant: image for variant, image in variants.items() if image},
            labels=self.worker_labels,
            annotations=self.worker_annotations,
            copied_labels=self.worker_copied_labels,
            openshift=self.openshift,
        )
        pace = Pace(self.progress_seconds, self.progress_percent, self.progress_max_seconds)
        return PlanSettings(
            pods, pace, self.results_limit_bytes, self.linger_seconds, reports_on_all=self.reports_on_all
        )
