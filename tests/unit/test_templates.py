"""Templates of users: strict, bounded, and without a way out."""

import pytest

from batchjob.worker import Fail
from batchjob_processors.templates import Templates


def test_a_template_that_never_ends_runs_out_of_fuel() -> None:
    templates = Templates(
        "spec.email", text="{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}"
    )
    with pytest.raises(Fail, match="fuel"):
        templates.render("text", {})


def test_a_template_is_strict_about_names_and_sees_no_python() -> None:
    templates = Templates("spec.email", text="{{ absent }}", attack="{{ ''.__class__.__mro__ }}")
    with pytest.raises(Fail, match="text"):
        templates.render("text", {})
    with pytest.raises(Fail):
        templates.render("attack", {})
