"""Why a connection did not come about: what the clients say, in words that say what to do."""

import pytest

from batchjob.api.source import Location
from batchjob.files.buckets import explain
from batchjob.files.unreached import explain_unreached, is_final

BUCKET = Location(url="s3://b/k", endpoint="http://minio:9000")


@pytest.mark.parametrize(
    ("text", "why", "lasts"),
    [
        ("Error connecting to mail on port 25: [Errno -2] Name or service not known", "host name is not known", True),
        ("[Errno -3] Temporary failure in name resolution", "cannot be looked up now", False),
        ("illegal status line: bytearray(b'SSH-2.0-OpenSSH_9.2')", "does not speak HTTP", True),
        ("All connection attempts failed", "nothing answers there", False),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "does not speak TLS", True),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)",
            "not trusted (self-signed certificate): mend it",
            True,
        ),
        (
            "Generic S3 error\nDebug source:\n InvalidCertificate(\n  UnknownIssuer,\n)",
            "(UnknownIssuer): mend it",
            True,
        ),
        ("Server disconnected without sending a response.", "it ends the connection without an answer", False),
        (
            "[Errno 104] Connection reset by peer",
            "broke off the connection: if this stays, check scheme and port",
            False,
        ),
        ("  Something new.\n more", "Something new.", False),
        ("", "no reason given", False),
    ],
)
def test_a_failed_connection_says_what_to_do_and_whether_waiting_may_help(text: str, why: str, lasts: bool) -> None:
    found = explain_unreached(text, "mend it")
    assert why in found.why
    assert found.lasts is lasts


def test_a_client_that_leaves_out_the_systems_words_is_explained_by_them() -> None:
    """As httpx2 over anyio does where the connection is reset while it reads."""
    error = TimeoutError()
    error.__cause__ = RuntimeError()
    assert explain_unreached(error).why == "TimeoutError"
    error.__cause__.__context__ = ConnectionResetError(104, "Connection reset by peer")
    assert "broke off the connection" in explain_unreached(error).why


@pytest.mark.parametrize(
    ("status", "final"),
    [
        *((status, True) for status in (204, 206, 304, 400, 403, 404)),
        *((status, False) for status in (408, 429, 500, 503)),
    ],
)
def test_an_answer_is_final_unless_it_says_that_it_may_pass(status: int, final: bool) -> None:
    assert is_final(status) is final


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("404 Not Found", "does not exist (404 NoSuchBucket: There is none): check the bucket and the key"),
        ("403 Forbidden", "was refused (403 NoSuchBucket: There is none): check the keys in credentialsSecretRef"),
        ("503 Slow Down", "answered 503 NoSuchBucket: There is none"),
    ],
)
def test_an_object_store_speaks_in_its_own_words_and_not_in_xml(status: str, sentence: str) -> None:
    xml = '<?xml version="1.0"?>\n<Error><Code>NoSuchBucket</Code><Message>There is\nnone</Message></Error>'
    error = OSError(
        f"Generic S3 error: GET http://minio:9000/b/k - Server returned non-2xx status code: {status}: {xml}"
    )
    assert explain("s3://b/k", BUCKET, error).why.startswith(f"s3://b/k at http://minio:9000 {sentence}")
