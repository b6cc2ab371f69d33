"""What an error of the API server's means."""

import json

import pytest

from batchjob.errors import (
    AlreadyExists,
    ApiUnavailable,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubernetesError,
    NotFound,
    WebhookUnavailable,
)
from batchjob.kube.answers import build_error

DENIED = 'admission webhook "guard.example.com" denied the request: not on a Friday'
UNREACHED = 'Internal error occurred: failed calling webhook "guard.example.com": connection refused'


@pytest.mark.parametrize(
    ("method", "code", "message", "kind"),
    [
        ("GET", 400, "", Invalid),
        ("GET", 401, "Unauthorized", ApiUnavailable),
        ("POST", 403, "exceeded quota", Forbidden),
        ("GET", 404, "", NotFound),
        ("PATCH", 409, "", Conflict),
        ("GET", 410, "", Gone),
        ("POST", 422, "", Invalid),
        ("GET", 429, "", ApiUnavailable),
        ("POST", 500, "etcd is unwell", ApiUnavailable),
        ("POST", 500, UNREACHED, WebhookUnavailable),
        ("POST", 403, DENIED, Forbidden),
        ("POST", 409, DENIED, Forbidden),
        ("POST", 500, DENIED, Forbidden),
        ("GET", 418, "", KubernetesError),
    ],
)
def test_an_error_is_what_its_code_says_and_a_webhooks_what_its_words_say(
    method: str, code: int, message: str, kind: type[KubernetesError]
) -> None:
    error = build_error(code, json.dumps({"message": message, "reason": "Some"}), method, None)
    assert type(error) is kind
    assert (str(error), error.status) == (message, code)


def test_a_name_that_is_taken_is_told_from_another_conflict() -> None:
    text = json.dumps({"message": "it is there", "reason": "AlreadyExists"})
    assert type(build_error(409, text, "POST", None)) is AlreadyExists
    assert type(build_error(409, text, "PATCH", None)) is Conflict
