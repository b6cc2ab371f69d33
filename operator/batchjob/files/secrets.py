"""Values of mounted Secrets."""

from pathlib import Path

from batchjob.errors import ConfigurationError


def read_secret(path: Path, where: str) -> str:
    """The value of a key, without white space around it. ConfigurationError, never with the value.

    `where`: what is said before the name of the key, such as `the Secret of spec.email.smtp.credentialsSecretRef`.
    """
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        raise ConfigurationError(f"{where} has no key {path.name}: add it") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{where}: the value of key {path.name} is no UTF-8 text: save it as such") from None
