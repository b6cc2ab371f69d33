"""Where the store is and who we are there, from environment variables: the operator reads them, and the gateway."""

from pathlib import Path
from typing import Final, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from batchjob.api.run import StoreAccess
from batchjob.errors import ConfigurationError

PREFIX: Final = "BATCHJOB_"


class StoreSettings(BaseSettings):
    """The settings that a process's own ones begin with; each is the variable of its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    store_url: str = Field(
        description="The store, a database of its own: redis://host:6379/0; rediss:// for TLS; "
        "redis+cluster://host:6379; redis+sentinel://host:26379,host:26379/name/0."
    )
    store_username: str | None = Field(None, description="Its own user in the store; default: default.")
    store_password: SecretStr | None = Field(None, description="Its password.")
    store_password_file: Path | None = Field(None, description="A file with its password, read for each connection.")
    store_ca_file: Path | None = Field(
        None, description="A file with the certificates to trust for rediss://, PEM; default: the system's."
    )

    @classmethod
    def read(cls) -> Self:
        """From the environment; ConfigurationError names the variable that is wrong."""
        try:
            return cls()
        except ValidationError as error:
            wrong = "; ".join(_in_words(one["loc"], one["msg"]) for one in error.errors())
            raise ConfigurationError(f"settings: {wrong}") from error

    def store(self) -> StoreAccess:
        """Our access to the store."""
        password = self.store_password.get_secret_value() if self.store_password else None
        if self.store_password_file:
            password = _read("STORE_PASSWORD_FILE", self.store_password_file).strip()
        ca = _read("STORE_CA_FILE", self.store_ca_file) if self.store_ca_file else None
        return StoreAccess(url=self.store_url, username=self.store_username, password=password, ca=ca)


def _in_words(place: tuple[int | str, ...], said: str) -> str:
    """A rule over several variables has no place, and names them."""
    return f"{PREFIX}{str(place[0]).upper()}: {said}" if place else said


def _read(name: str, path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigurationError(f"{PREFIX}{name}: {path} cannot be read: {error.strerror}") from None
