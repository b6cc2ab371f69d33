"""Signatures as Standard Webhooks has them, and what answers mean."""

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from batchjob.api.notifications import DeliveryState
from batchjob.controller.notify.destinations import Destinations, trusting
from batchjob.controller.notify.webhooks import build_headers, judge, post
from batchjob.errors import ConfigurationError

# The vector of the specification's own libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOTICE, SENT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), '{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = "whsec_" + base64.b64encode(b"another secret of 32 bytes......").decode()


def test_a_webhook_is_signed_as_the_specification_has_it() -> None:
    headers = build_headers(SECRET, NOTICE, SENT, BODY)
    assert {name: value for name, value in headers.items() if name.startswith("webhook-")} == {
        "webhook-id": NOTICE,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_each_of_several_secrets_signs_so_that_one_can_take_over_from_another() -> None:
    now = datetime.now(UTC)
    headers = build_headers(f"{SECRET}\n{OTHER}\n", NOTICE, now, BODY)
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(BODY, headers) == {"test": 2432232314}


def test_the_clock_of_another_zone_signs_the_same() -> None:
    local = SENT.astimezone(datetime.fromisoformat("2026-01-01T00:00:00+05:00").tzinfo)
    assert build_headers(SECRET, NOTICE, local, BODY)["webhook-signature"] == SIGNATURE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has 0 secrets, and needs 1 to 4"),
        (" ".join([SECRET] * 5), "it has 5 secrets"),
        ("hunter2", "it holds no secret of Standard Webhooks: whsec_ and 24 to 64 bytes in base64"),
        (SECRET.removeprefix("whsec_"), "whsec_ and 24 to 64 bytes"),
        ("whsec_hunter2=not+base64", "openssl rand -base64 32"),
        ("whsec_" + base64.b64encode(b"short").decode(), "24 to 64 bytes"),
    ],
)
def test_a_secret_that_is_none_is_refused_without_being_told(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        build_headers(text, NOTICE, SENT, BODY)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        *((status, DeliveryState.DELIVERED) for status in (200, 202, 204)),
        (410, DeliveryState.GONE),
        *((status, DeliveryState.PENDING) for status in (101, 301, 307, 400, 401, 404, 429, 500, 503)),
    ],
)
def test_an_answer_of_2xx_is_success_410_an_end_and_all_else_is_tried_again(status: int, state: DeliveryState) -> None:
    assert judge(status).state is state
    assert f"HTTP {status}" in judge(status).message


@pytest.mark.parametrize("url", ["https:///x", "https://", "ftp://example.com", "https://exa mple.com:x/", "nonsense"])
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="it is no URL such as"):
        await post(Destinations([]), url, {}, BODY, trusting())


def test_what_is_no_certificate_is_said_to_be_none() -> None:
    for text in ("", "nonsense", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ConfigurationError, match="it holds no certificates in PEM"):
            trusting(text)
