"""Secrets in what others say."""

import pytest

from batchjob.core.masking import mask


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("no such key: sk-123456", ["sk-123456"], "no such key: ***"),
        ("key=xsk-123456x", ["sk-123456"], "key=x***x"),
        ("Bearer tok-en-1, tok-en", ["tok-en", "Bearer tok-en-1"], "***, ***"),
        ("a bad answer, and an a", ["a"], "*** bad answer, and an ***"),
        ("the password 'pa$$' of pa$$word", ["pa$$"], "the password '***' of pa$$word"),
        ("nothing", ["", "other-secret"], "nothing"),
    ],
)
def test_a_secret_is_masked_and_a_short_one_leaves_the_words_that_it_is_a_part_of(
    text: str, secrets: list[str], shown: str
) -> None:
    assert mask(text, secrets) == shown
