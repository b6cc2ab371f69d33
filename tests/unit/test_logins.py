"""How a worker signs in at an object store: what a Secret must hold, and what the library is told."""

from pathlib import Path
from typing import Any

import pytest

from batchjob.api.source import Location
from batchjob.errors import ConfigurationError
from batchjob.files.buckets import open_bucket
from batchjob.files.logins import CLOUDS, sign_in

PRINCIPAL = {"AZURE_CLIENT_ID": "i", "AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "t"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for cloud in CLOUDS.values():
        for name in cloud.variables:
            monkeypatch.delenv(name, raising=False)


def place(scheme: str, *, secret: bool = True, **fields: Any) -> Location:
    reference = {"credentialsSecretRef": {"name": "login"}} if secret else {}
    return Location.model_validate({"url": f"{scheme}://bucket/key", **reference, **fields})


def folder(path: Path, keys: dict[str, str]) -> Path:
    for name, text in keys.items():
        (path / name).write_text(text + "\n")
    return path


@pytest.mark.parametrize(
    ("scheme", "keys", "told"),
    [
        ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": "{}"}, {"google_service_account_key": "{}"}),
        (
            "az",
            {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_SAS_TOKEN": "sv=1"},
            {"azure_storage_account_name": "a", "azure_storage_sas_token": "sv=1"},
        ),
        (
            "az",
            {"AZURE_STORAGE_ACCOUNT_NAME": "a", **PRINCIPAL},
            {"azure_storage_account_name": "a", **{name.lower(): text for name, text in PRINCIPAL.items()}},
        ),
        (
            "s3",
            {"AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-1"},
            {"aws_access_key_id": "i", "aws_secret_access_key": "s", "aws_region": "eu-1"},
        ),
    ],
)
def test_the_keys_of_a_secret_are_the_librarys_variables(
    scheme: str, keys: dict[str, str], told: dict[str, str], tmp_path: Path
) -> None:
    ignored = {"AWS_ENDPOINT": "http://169.254.169.254", "AZURE_MSI_ENDPOINT": "http://169.254.169.254"}
    found = sign_in(scheme, place(scheme), folder(tmp_path, keys | ignored))
    found.pop("aws_virtual_hosted_style_request", None)
    assert found == told


@pytest.mark.parametrize(
    ("scheme", "keys", "said"),
    [
        ("gs", {}, "Secret login has no key GOOGLE_SERVICE_ACCOUNT_KEY, which gs://bucket/key needs: add it"),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "a"}, "Secret login has no key AZURE_STORAGE_ACCOUNT_KEY, which az://"),
        ("az", PRINCIPAL, "Secret login has no key AZURE_STORAGE_ACCOUNT_NAME, which az://"),
        ("s3", {"AWS_ACCESS_KEY_ID": "i"}, "Secret login has no key AWS_SECRET_ACCESS_KEY, which s3://"),
    ],
)
def test_a_key_that_is_missing_is_named(scheme: str, keys: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"^{said}"):
        sign_in(scheme, place(scheme), folder(tmp_path, keys))


@pytest.mark.parametrize("scheme", CLOUDS)
def test_nobody_signs_in_without_a_secret_unless_the_environment_does(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sign_in(scheme, place(scheme, secret=False), tmp_path)["skip_signature"] is True
    monkeypatch.setenv(CLOUDS[scheme].variables[0], "x")
    assert "skip_signature" not in sign_in(scheme, place(scheme, secret=False), tmp_path)


@pytest.mark.parametrize(
    ("scheme", "keys", "said"),
    [
        ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": "secret words"}, "check GOOGLE_SERVICE_ACCOUNT_KEY"),
        (
            "az",
            {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": "secret words"},
            "check AZURE_STORAGE_ACCOUNT_KEY",
        ),
        ("az", None, "name it as AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_a_login_that_is_none_is_named_and_not_shown(
    scheme: str, keys: dict[str, str] | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_bucket(place(scheme, secret=keys is not None), folder(tmp_path, keys or {}), tmp_path)
    assert str(refused.value).startswith(f"{scheme}://bucket/key cannot be opened: ")
    assert str(refused.value).endswith(f"{said} in the Secret of credentialsSecretRef")
    assert "secret words" not in str(refused.value)
