"""The chart's README has every value, with words."""

from tests.chart.rendering import CHART
from tests.chart.values_page import PAGE, build_page, read_values

TEXT = """# Of the file.

# One.
a: 1

# Both.
b:
  c: x
  # Other words,
  # and more.
  d: {}
  e: []
# All of it.
f:
  # A part.
  g:
    h: 2
"""


def test_a_value_has_the_comment_above_it_or_of_what_it_is_in() -> None:
    assert [(value.path, value.default, value.said) for value in read_values(TEXT)] == [
        ("a", 1, "One."),
        ("b.c", "x", "Both."),
        ("b.d", {}, "Other words, and more."),
        ("b.e", [], ""),
        ("f", None, "All of it."),
        ("f.g.h", 2, "A part."),
    ]


def test_the_page_is_the_committed_one_and_leaves_no_value_without_words(*, update_golden: bool) -> None:
    page = build_page()
    if update_golden:
        PAGE.write_text(page)
    assert page == PAGE.read_text()
    values = list(read_values((CHART / "values.yaml").read_text()))
    described = {value.path.rpartition(".")[0] for value in values if value.said}
    assert not [value.path for value in values if not value.said and value.path.rpartition(".")[0] not in described]
