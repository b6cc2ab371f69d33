"""What others say, without the secrets that they repeat. Pure."""

import re
from collections.abc import Iterable
from typing import Final

MASK: Final = "***"
WHOLE_WORDS: Final = 6  # characters: what is shorter may be a part of any word, and would leave nothing to read


def mask(text: str, secrets: Iterable[str]) -> str:
    """The text, with each secret taken out; a short one only where it stands alone."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):  # one may be within another
        if len(secret) < WHOLE_WORDS:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
        else:
            text = text.replace(secret, MASK)
    return text
