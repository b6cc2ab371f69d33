"""What may be said about the worker pods: an allow-list, never a pod template.

A template passed through would let whoever may create a BatchJob run any pod (host paths, privileges, another's
ServiceAccount token) with the operator's rights.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Model, Name, Quantity, cel

SmallText = Annotated[str, Field(max_length=253)]


class Variant(StrEnum):
    """A worker image that has more than the plain one, for the specs that need it."""

    PARQUET = "parquet"
    REPORT = "report"


class ResourceAmounts(Model):
    """Amounts of CPU and memory."""

    cpu: Quantity | None = Field(None, description="CPU, such as 500m.")
    memory: Quantity | None = Field(None, description="Memory, such as 256Mi.")


class WorkerResources(Model):
    """What a worker pod asks for and may use at most."""

    requests: ResourceAmounts | None = Field(None, description="What the scheduler reserves.")
    limits: ResourceAmounts | None = Field(None, description="What the pod may use at most.")


class TolerationOperator(StrEnum):
    """How a toleration compares."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class Toleration(Model):
    """A taint the worker pods tolerate."""

    key: SmallText | None = Field(None, description="Key of the taint; absent with Exists: all taints.")
    operator: TolerationOperator = Field(TolerationOperator.EQUAL, description="How the value is compared.")
    value: SmallText | None = Field(None, description="Value of the taint.")
    effect: Annotated[str, Field(pattern=r"^(NoSchedule|PreferNoSchedule|NoExecute)$", max_length=16)] | None = Field(
        None, description="NoSchedule, PreferNoSchedule or NoExecute; absent: all."
    )


class Named(Model):
    """A Secret or ConfigMap by its name."""

    name: Name = Field(description="Its name, in the namespace of the BatchJob.")


class EnvFrom(Model):
    """Environment variables from a ConfigMap or a Secret."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "has(self.configMapRef) != has(self.secretRef)",
                    "worker.envFrom[] needs exactly one of configMapRef and secretRef",
                )
            ]
        }
    )

    config_map_ref: Named | None = Field(None, description="ConfigMap whose keys become variables.")
    secret_ref: Named | None = Field(None, description="Secret whose keys become variables.")


class ClaimVolume(Model):
    """A PersistentVolumeClaim mounted into the worker pods."""

    claim_name: Name = Field(description="Name of the PersistentVolumeClaim, in the namespace of the BatchJob.")
    mount_path: Annotated[str, Field(min_length=2, max_length=256, pattern=r"^/[-._a-zA-Z0-9/]*$")] = Field(
        description="Where it is mounted; file:// URLs reach below it. Not /etc or /tmp, which are ours.",
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "!self.matches('^/(etc|tmp)(/|$)') && !self.contains('..')",
                    "worker.volumes[].mountPath must not lie below /etc or /tmp, nor contain '..': "
                    "choose another, such as /data",
                )
            ]
        },
    )
    read_only: bool = Field(False, description="Mount without the right to write.")


class Worker(Model):
    """What may be said about the worker pods: an allow-list, never a pod template."""

    image: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        None,
        description="Worker image; default: the chart's for its type. Your own image holds your own processors.",
    )
    resources: WorkerResources | None = Field(None, description="CPU and memory of a worker pod.")
    node_selector: Annotated[dict[str, SmallText], Field(max_length=16)] | None = Field(
        None, description="Labels a node must have."
    )
    tolerations: Annotated[list[Toleration], Field(max_length=16)] | None = Field(
        None, description="Taints the pods tolerate."
    )
    priority_class_name: Name | None = Field(None, description="PriorityClass of the pods.")
    service_account_name: Name | None = Field(
        None, description="ServiceAccount of the pods; its token is never mounted. Default: default."
    )
    image_pull_secrets: Annotated[list[Named], Field(max_length=8)] | None = Field(
        None, description="Secrets with registry credentials."
    )
    env_from: Annotated[list[EnvFrom], Field(max_length=8)] | None = Field(
        None, description="Environment variables from ConfigMaps and Secrets."
    )
    volumes: Annotated[list[ClaimVolume], Field(max_length=8)] | None = Field(
        None, description="PersistentVolumeClaims to mount."
    )
