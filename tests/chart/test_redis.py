"""The chart's Redis: what it holds, and how the chart reaches it or one of your own."""

import pytest
import yaml

from tests.chart.rendering import CHART, HelmError, objects, of_kind, render


def test_redis_never_evicts_and_writes_every_change_down() -> None:
    (config,) = [one for one in of_kind(objects(), "ConfigMap") if "redis.conf" in one["data"]]
    lines = config["data"]["redis.conf"].splitlines()
    assert {"maxmemory-policy noeviction", "appendonly yes", "appendfsync everysec"} <= set(lines)


def test_by_default_three_times_what_redis_holds_fits_its_claim_and_three_quarters_of_its_memory_hold_it() -> None:
    redis = yaml.safe_load((CHART / "values.yaml").read_text())["redis"]
    held = bytes_of(redis["maxMemory"])
    assert 3 * held <= bytes_of(redis["persistence"]["size"])
    assert held <= 0.75 * bytes_of(redis["resources"]["limits"]["memory"])


def bytes_of(amount: str) -> int:
    """Of an amount as Redis or Kubernetes writes it: 320mb, 512Mi, 1Gi."""
    return int(amount[:-2]) << {"mb": 20, "Mi": 20, "gb": 30, "Gi": 30}[amount[-2:]]


def test_a_changed_configuration_restarts_redis() -> None:
    def checksum(*arguments: str) -> str:
        (redis,) = of_kind(objects(*arguments), "StatefulSet")
        found: str = redis["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        return found

    assert checksum() != checksum("--set", "redis.maxMemory=200mb")


@pytest.mark.parametrize("user", ["redis.auth", "gateway.redis"])
def test_another_key_is_one_of_a_secret_of_your_own(user: str) -> None:
    with pytest.raises(HelmError) as error:
        render("--set", f"{user}.key=secret")
    assert f"at '/{user.replace('.', '/')}/key': value must be 'password'" in str(error.value)
    assert "key: secret" in render("--set", f"{user}.key=secret,{user}.existingSecret=mine")


EXTERNAL = "redis.mode=external,redis.url=redis://elsewhere:6379"


def test_in_a_redis_of_your_own_the_gateways_user_and_its_password_come_together() -> None:
    username, secret = "gateway.redis.username=me", "gateway.redis.existingSecret=mine"
    for alone, words in ((username, "existingSecret': minLength"), (secret, "existingSecret': maxLength")):
        with pytest.raises(HelmError) as error:
            render("--set", f"{EXTERNAL},{alone}")
        assert f"at '/gateway/redis/{words}" in str(error.value)
        assert render("--set", alone), "in the chart's own the other one is made"
    assert render("--set", f"{EXTERNAL},{username},{secret}")
    assert render("--set", EXTERNAL)
