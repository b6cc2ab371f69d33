"""Why a connection did not come about, in words that say what to do. Pure.

Each client wraps the system's error in its own way, one in the debug output of Rust; the system's own words are in all
of them, and nothing else is.
"""

import re
from typing import Final, NamedTuple


class Unreached(NamedTuple):
    """A sentence, and whether the cause lasts: then only somebody can mend it, and waiting hardly helps."""

    why: str
    lasts: bool


TRUST_THE_BUNDLE: Final = "name its authority in caBundleRef"
TRUST_THE_IMAGE: Final = "it must come from an authority that the worker image trusts"
_NO_NAME: Final = Unreached("the host name is not known: check it", lasts=True)
_NO_TLS: Final = Unreached("what answers there does not speak TLS: check scheme and port", lasts=True)
_NO_HTTP: Final = Unreached("what answers there does not speak HTTP: check scheme and port", lasts=True)
_NO_WORD: Final = Unreached("it ends the connection without an answer: check scheme and port", lasts=False)
_RESET: Final = Unreached("it broke off the connection: if this stays, check scheme and port", lasts=False)
_NO_ANSWER: Final = Unreached("nothing answers there: check host and port", lasts=False)
_MEANINGS: Final = {
    "Name or service not known": _NO_NAME,
    "No address associated with hostname": _NO_NAME,
    "Temporary failure in name resolution": Unreached("the host name cannot be looked up now", lasts=False),
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "InvalidContentType": _NO_TLS,
    "illegal status line": _NO_HTTP,  # h11's words
    "Receive buffer too long": _NO_HTTP,
    "Server disconnected without sending a response": _NO_WORD,  # httpx2's
    "Connection reset by peer": _RESET,
    "Broken pipe": _RESET,
    "STARTTLS extension not supported": Unreached("it offers no STARTTLS: set tls to tls, or to none", lasts=True),
    "Connection refused": _NO_ANSWER,
    "Connect call failed": _NO_ANSWER,
    "All connection attempts failed": _NO_ANSWER,
}
_CERTIFICATE: Final = re.compile(r"certificate verify failed: ([^(\n]+)|InvalidCertificate\(\s*(\w+)")
_BRIEF: Final = 300
_PASSING: Final = frozenset({408, 425, 429})  # of the answers that blame the request, those that say "later"


def explain_unreached(error: BaseException | str, trust: str = TRUST_THE_IMAGE) -> Unreached:
    """What a client's error, or its text, means. `trust`: what to do about a certificate that is not trusted."""
    text = error if isinstance(error, str) else _words(error)
    if found := _CERTIFICATE.search(text):
        detail = (found[1] or found[2]).strip(" .")
        return Unreached(f"its certificate is not trusted ({detail}): {trust}", lasts=True)
    for words, meaning in _MEANINGS.items():
        if words in text:
            return meaning
    return Unreached(brief(text), lasts=False)


def is_final(status: int) -> bool:
    """Whether an HTTP status will hardly change by itself."""
    return status < 500 and status not in _PASSING  # noqa: PLR2004 - RFC 9110 §15.6


def _words(error: BaseException) -> str:
    """What it says, or else what its cause says: a client that wraps the system's error may leave its words out."""
    cause: BaseException | None = error
    while cause is not None:
        if text := str(cause):
            return text
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def brief(text: str) -> str:
    """The first line that says something: a client may append its own call tree."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:_BRIEF] if lines else "no reason given"
