"""What a mail server says no to, and its words as they may be shown. Pure.

Type email sends from worker pods and the operator tells of ends by mail; what a no means and what may be quoted of it
is the same for both. A server's words are bytes of a stranger's: some repeat the password that they did not
understand, some are many lines long, and whoever reads a status reads them.
"""

import base64
from typing import Final

from batchjob.core.masking import mask

PERMANENT: Final = 500  # replies from here on say no for good (RFC 5321 §4.2.1)
NO_LOGIN: Final = frozenset({530, 534, 535, 538})  # RFC 4954 §6
WORDS: Final = 300  # characters of an answer

Login = tuple[str, str]  # user and password


def refuses_login(code: int, *, at_login: bool) -> bool:
    """Whether a no is one to whoever signs in, and to no sender or recipient. `at_login`: it came while signing in."""
    return code in NO_LOGIN or (at_login and code >= PERMANENT)


def quoted(words: str, login: Login | None = None) -> str:
    """A server's words: one line in bounds of what can be shown, and without the password."""
    if login:
        user, password = login
        said = (f"\0{user}\0{password}", password)  # as AUTH PLAIN and AUTH LOGIN say it
        words = mask(words, (*(base64.b64encode(text.encode()).decode() for text in said), password))
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(words.split()))
    return line if len(line) <= WORDS else f"{line[: WORDS - 1]}…"
