"""Parameters of a processor of one's own: its model makes what it needs of their text, and tells what does not fit."""

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from batchjob.errors import ConfigurationError
from batchjob.worker.params import SHOWN, read_params


class Pages(BaseModel):
    """A processor's."""

    language: str
    pages: int = Field(10, ge=1, le=100)
    is_dry: bool = Field(False, validation_alias="dryRun")
    words: list[str] = []

    @field_validator("words", mode="before")
    @classmethod
    def _split(cls, text: str) -> list[str]:
        return text.split(",")


def test_the_model_makes_what_it_needs_of_their_text() -> None:
    found = read_params({"language": "de", "pages": "7", "dryRun": "true", "words": "a,b"}, Pages)
    assert found == Pages.model_construct(language="de", pages=7, is_dry=True, words=["a", "b"])


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "spec.custom.params.language: field required"),
        (
            {"language": "de", "pages": "many"},
            (
                "spec.custom.params.pages: input should be a valid integer, unable to parse string as an integer, "
                "not 'many'"
            ),
        ),
        (
            {"language": "de", "pages": "101"},
            "spec.custom.params.pages: input should be less than or equal to 100, not '101'",
        ),
        (
            {"language": "de", "page": "7", "is_dry": "true"},
            "spec.custom.params: this processor has no is_dry, page; what it has: dryRun, language, pages, words",
        ),
    ],
    ids=["missing", "no-number", "too-many", "unknown"],
)
def test_each_that_does_not_fit_is_named(params: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_params(params, Pages)
    assert str(refused.value) == said


def test_who_takes_all_is_given_all_and_nobody_is_told_more_than_can_be_read() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    assert read_params({"what": "ever"}, Open).model_extra == {"what": "ever"}
    with pytest.raises(ConfigurationError) as refused:
        read_params({f"p{number:02}": "x" for number in range(64)}, Pages)
    assert f"no p00, p01, p02, p03, p{SHOWN - 1:02}; what it has: " in str(refused.value)
    assert "p05" not in str(refused.value)


def test_a_parameter_may_have_several_names() -> None:
    class Renamed(BaseModel):
        pages: int = Field(validation_alias=AliasChoices("pages", "leaves"))

    assert read_params({"leaves": "7"}, Renamed).pages == read_params({"pages": "7"}, Renamed).pages
    with pytest.raises(ConfigurationError, match="has no sheets; what it has: leaves, pages"):
        read_params({"sheets": "7"}, Renamed)
