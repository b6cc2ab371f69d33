"""The ground all resource models stand on: one base class, bounded scalars and the CEL rules beside a model.

Every string, list and map carries a bound, because the CRD is fully structural and the API server charges CEL
rules by the largest value a field may have. Models are frozen and ignore fields they do not know: the API server
has already refused unknown fields from people, and an older operator must read a newer object.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

GROUP: Final = "batchjob.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

# Begins the names of fields that we add to a result. No dot, so that a path of an export reaches into them.
OWN_FIELDS: Final = "batchjob/"

# Largest name of a BatchJob: "-" + 5 hash characters + "-" + a slot number must still fit in a pod's 63.
MAX_NAME: Final = 52

VALIDATIONS: Final = "x-kubernetes-validations"


def cel(rule: str, message: str, *, field: str | None = None) -> dict[str, JsonValue]:
    """One CEL validation of the API server; `message` names the field and the way out.

    `field` is the JSON path reported as the error's field, relative to where the rule stands (such as `.source`).
    """
    validation: dict[str, JsonValue] = {"rule": rule, "message": message}
    return validation | {"fieldPath": field} if field else validation


def immutable(name: str, way_out: str = "Delete the BatchJob, or create one with another name") -> dict[str, JsonValue]:
    """Schema extra of a field that may not change once the object exists."""
    return {VALIDATIONS: [cel("self == oldSelf", f"{name} is immutable. {way_out}.")]}


class Model(BaseModel):
    """A frozen resource model whose fields are camelCase in JSON and snake_case in Python."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """The JSON form: camelCase names, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


Name = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
]  # a DNS subdomain, as Kubernetes names its objects (RFC 1123)
Key = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]  # key of a ConfigMap or Secret
ItemId = Annotated[str, Field(min_length=1, max_length=128)]
Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "!self.matches('^[^/?#]*://[^/?#]*@')",
                    "a URL must not hold a login (user:password@), for whoever may read the object reads it too: "
                    "remove it, and name a Secret where there is a field for one",
                )
            ]
        },
    ),
]
Quantity = Annotated[
    str,
    Field(
        min_length=1,
        max_length=32,
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "isQuantity(self) && !self.startsWith('-')",
                    "an amount in worker.resources must be a Kubernetes quantity, such as 500m or 256Mi",
                )
            ]
        },
    ),
]
Timestamp = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]  # RFC 3339, UTC

# The API server checks the format, but not the offset, which its CEL cannot read: such an object takes no write at all.
RFC_3339: Final = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$"


def checked_time(text: str) -> str:
    """What the API server checks by format and pattern, for whoever reads a manifest without one."""
    try:
        datetime.fromisoformat(text)
        right = re.fullmatch(RFC_3339, text)
    except ValueError:
        right = None
    if right is None:
        raise ValueError("must be a time with its zone, such as 2026-01-31T09:00:00Z")
    return text


GivenTime = Annotated[Timestamp, Field(json_schema_extra={"pattern": RFC_3339}), AfterValidator(checked_time)]
