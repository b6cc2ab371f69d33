from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from batchjob.api.v1alpha1 import BatchJob
from batchjob.errors import ConfigurationError
from batchjob.gateway.links import LinkTemplate, build_links
from batchjob.gateway.settings import GatewaySettings
from tests.support.ui_scene import spec_of

WHO = "a&b=c/../#?é{name}"
META = {"name": "a", "namespace": "n", "uid": "u"}
JOB = BatchJob.parse({"metadata": META, "spec": {**spec_of("custom"), "owner": WHO}})


def test_what_a_link_names_is_encoded_and_times_are_milliseconds() -> None:
    url = "https://grafana.example.com/d/x?job={name}&who={owner}&from={started}&to={ended}&q={queue}#{namespace}"
    [link] = build_links([LinkTemplate(name="Grafana", url=url)], JOB, (12.0, 13.5))
    parts = urlsplit(link.url)
    assert (parts.netloc, parts.path, parts.fragment) == ("grafana.example.com", "/d/x", "n")
    assert parse_qs(parts.query) == {"job": ["a"], "who": [WHO], "from": ["12000"], "to": ["13500"], "q": ["custom"]}
    [waits] = build_links([LinkTemplate(name="x", url="https://x/{started}")], JOB, (None, 13.5))
    assert waits.url == "https://x/13500"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("javascript:alert(1)", "has to begin with https://"),
        ("//evil.example", "has to begin with https://"),
        ("https://{owner}.example/", "a host without fields"),
        ("https://x.example{owner}", "a host without fields"),
        ("https://x/?a={uid}", "names {uid}, and there are {namespace}"),
        ("https://x/?a={name", "a brace that is of no field"),
    ],
)
def test_a_link_that_could_lead_anywhere_is_refused(url: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("{", r"\{").replace("}", r"\}")):
        LinkTemplate(name="x", url=url)


@pytest.mark.parametrize(
    ("text", "words"), [("{", "is no JSON"), ('[{"name": "x", "url": "ftp://x"}]', "has to begin with https://")]
)
def test_links_that_are_wrong_are_said_at_the_start(text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHJOB_STORE_URL", "redis://x")
    monkeypatch.setenv("BATCHJOB_UI_LINKS", text)
    with pytest.raises(ConfigurationError, match=f"BATCHJOB_UI_LINKS: .*{words}"):
        GatewaySettings.read()
