"""Templates of users: strict, bounded, and without a way out."""

import resource

import pytest

from batchjob.worker import ConfigurationError, Fail
from batchjob_processors.templates import Templates


def test_a_template_inserts_the_items_fields() -> None:
    assert Templates("spec.email", text="Dear {{ name }},\n").render("text", {"name": "A & B"}) == "Dear A & B,\n"


def test_what_an_item_inserts_into_html_is_escaped() -> None:
    templates = Templates("spec.email", html="<p>{{ name }}</p>", text="{{ name }}", raw_html="{{ name | safe }}")
    assert templates.render("html", {"name": "<b>&"}) == "<p>&lt;b&gt;&amp;</p>"
    assert templates.render("text", {"name": "<b>&"}) == "<b>&"
    assert templates.render("raw_html", {"name": "<b>"}) == "<b>"


def test_a_template_that_is_none_stops_the_run_with_field_line_and_column() -> None:
    with pytest.raises(ConfigurationError, match=r"spec.email.subject is not a template: line 2, column 6: syntax"):
        Templates("spec.email", subject="ü\nü {{ name")


def test_a_field_that_the_item_lacks_fails_the_item() -> None:
    said = r"spec.email.to, line 1, column 4: .*`mail` is undefined; the item has: email, name$"
    with pytest.raises(Fail, match=said):
        Templates("spec.email", to="{{ mail }}").render("to", {"email": "a@example.com", "name": "A"})


def test_a_template_that_never_ends_is_stopped_with_field_line_and_column() -> None:
    loop = "Dear all,\n  {% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}"
    said = r"spec.email.text, line 2, column 3: takes more than 100,000 steps: a loop in it is endless"
    with pytest.raises(Fail, match=said):
        Templates("spec.email", text=loop).render("text", {})


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 10**9 }}",
        "{{ ([0] * 10**9) | length }}",
        "{{ range(10**9) | list | length }}",
        "{{ range(90000) | join('x' * 10000) }}",
        "{{ ('x' * 10000) | replace('x', 'x' * 10000) }}",
        "{{ '%1000000000s' | format('x') }}",
        "{{ 'a' | indent(10**9, true) }}",
        "{{ ('a,' * 10**7) | split(',') | list | length }}",
        "{% set s = namespace(t='xxxxxxxxxx') %}{% for i in range(40) %}{% set s.t = s.t ~ s.t %}{% endfor %}",
    ],
)
def test_what_one_step_would_make_large_is_stopped_before_it_is_made(source: str) -> None:
    templates = Templates("spec.email", text=source)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Fail, match=r"spec.email.text, line 1, column \d+: "):
        templates.render("text", {})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "KiB"


def test_a_template_that_calls_itself_for_ever_is_stopped() -> None:
    with pytest.raises(Fail, match=r"spec.email.text, line 1, column 19: .*recursion limit"):
        Templates("spec.email", text="{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").render("text", {})


def test_a_template_is_strict_about_names_and_sees_no_python() -> None:
    templates = Templates("spec.email", text="{{ absent }}", attack="{{ ''.__class__.__mro__ }}")
    with pytest.raises(Fail, match="text"):
        templates.render("text", {})
    with pytest.raises(Fail):
        templates.render("attack", {})


def test_an_error_in_a_template_that_another_one_takes_is_said_of_that_one() -> None:
    templates = Templates("spec.email", html="{% extends 'text' %}", text="\n\n{% block x %}{{ mail }}{% endblock %}")
    with pytest.raises(Fail, match=r"spec.email.text, line 3, column 17: .*`mail` is undefined"):
        templates.render("html", {})
