"""The gateway's settings, from environment variables that begin with `BATCHJOB_`."""

from pydantic import Field

from batchjob.store.settings import StoreSettings


class GatewaySettings(StoreSettings):
    """Every setting; each is the variable of its name in capitals, such as BATCHJOB_LISTEN_PORT."""

    listen_host: str = Field("0.0.0.0", description="Address of the HTTP API.")  # noqa: S104 - a Service is in front of the pod
    listen_port: int = Field(8080, ge=0, le=65535, description="Its port.")
    drain_seconds: int = Field(20, ge=0, description="How long requests that have begun may take after a SIGTERM.")

    kube_qps: float = Field(200, gt=0, description="Calls a second to the Kubernetes API.")
    kube_burst: int = Field(400, ge=1, description="Calls at once after a quiet time.")

    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")
