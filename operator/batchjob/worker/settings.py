"""What a worker is told: settings from its environment, the run and its access to the store from mounted files."""

import os
import socket
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, Field, ValidationError

from batchjob.api.base import Model
from batchjob.api.run import REFERENCES_DIR, RUN_DIR, RUN_FILE, STORE_FILE, Run, StoreAccess
from batchjob.core.items import LEASE_MS
from batchjob.errors import ConfigurationError

ModelT = TypeVar("ModelT", bound=Model)

# A worker asks at least this often, so that nothing starts later than 2 s after a pause and leases hold.
EXCHANGE_SECONDS: Final = 1.5
FLUSH_SECONDS: Final = 0.1  # finished items are committed at the latest after this: the most work a crash can repeat


PREFIX: Final = "BATCHJOB_"


class Settings(BaseModel):
    """Variables `BATCHJOB_<NAME>`. Read by hand: the import of pydantic-settings takes 4 MiB of every worker."""

    run_dir: Path = Path(RUN_DIR)
    references_dir: Path = Path(REFERENCES_DIR)
    worker_name: str = Field(default_factory=socket.gethostname, min_length=1)  # the pod's name; unique in a run
    probe_port: int = Field(8080, ge=0, le=65535)  # 0: no probes
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")
    grace_seconds: float = Field(25, ge=0)  # for items in flight after SIGTERM; below the pod's 30
    lease_seconds: float = Field(LEASE_MS / 1000, gt=0)  # as the operator opened the run
    follow_seconds: float = Field(10, gt=0)  # between two looks at what may change of the run, its queue's limits
    termination_log: Path = Path("/dev/termination-log")

    @property
    def renew_seconds(self) -> float:
        """Longest time between two renewals of a lease."""
        return min(EXCHANGE_SECONDS, self.lease_seconds / 3)


def read_settings() -> Settings:
    """The settings; ConfigurationError names the variable that is wrong."""
    try:
        return Settings.model_validate(
            {
                name: os.environ[PREFIX + name.upper()]
                for name in Settings.model_fields
                if PREFIX + name.upper() in os.environ
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{name}: {first['msg']}") from None


def read_run(folder: Path) -> Run:
    """The run that this pod works on."""
    return _read(folder / RUN_FILE, Run)


def read_store_access(folder: Path) -> StoreAccess:
    """How to reach the store."""
    return _read(folder / STORE_FILE, StoreAccess)


def _read(path: Path, model: type[ModelT]) -> ModelT:
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path} cannot be used: {field}: {first['msg']}") from None
