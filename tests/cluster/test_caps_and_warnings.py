"""The chart's caps and warnings on a real API server."""

from typing import Any

import pytest

from tests.cluster.conftest import SYSTEM
from tests.support.cluster_schedules import batch_schedule
from tests.support.kubectl import Kubectl, KubectlError, wait_until
from tests.support.manifests import ai_batch, email, inline, noop
from tests.support.policies import VALIDATING, install_policies, try_create, wait_in_force

NAMESPACE, RELEASE = "capped", "capped"
REGISTRY = "registry.example.com/team/"
DIGEST = f"{REGISTRY}worker@sha256:{'1' * 64}"
LIMITS = {"limits": {"memory": "256Mi"}}
CAPS = (
    "policies.caps.maxParallelism=4",
    "policies.caps.maxConcurrency=16",
    "policies.caps.maxItems=3",
    "policies.caps.maxMailsPerMinute=60",
    f"policies.caps.imagePrefixes={{{REGISTRY},example/}}",
)


@pytest.fixture(scope="module")
def capped(admin: Kubectl) -> Kubectl:
    """The administrator, in a namespace with caps in force; one BatchJob there is older and above them."""
    found = admin.within(NAMESPACE)
    found.ensure_namespace()
    found.apply(noop("older", inline(9), parallelism=8, concurrency=64, worker={"image": "elsewhere/worker:1"}))
    install_policies(found, RELEASE, [NAMESPACE], *CAPS)
    wait_in_force(lambda: not try_create(found, noop("probe", inline(1), parallelism=5))[0], "the caps to hold")
    wait_in_force(lambda: bool(try_create(found, email("probe", inline(1), email=mail(rate=1) | PLAIN))[1]), "warnings")
    return found


def mail(rate: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = email("x", {})["spec"]["email"]
    return found | ({"ratePerMinute": rate} if rate else {})


PLAIN = {"smtp": {"host": "mail", "tls": "none", "credentialsSecretRef": {"name": "login"}}}
REPORT = {
    "apiVersion": "batchjob.dev/v1alpha1",
    "kind": "BatchJob",
    "metadata": {"name": "risky"},
    "spec": {
        "type": "report",
        "report": {"deliver": {"email": PLAIN | {"from": "a@b.example", "to": ["c@d.example"]}}},
    },
}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"parallelism": 5}, "spec.parallelism is 5, and at most 4 is allowed here. Lower it"),
        ({"concurrency": 17}, "spec.concurrency is 17, and at most 16 is allowed here"),
        ({"source": inline(4)}, "the number of spec.source.items is 4, and at most 3 is allowed here. Put the items"),
        (
            {"worker": {"image": "elsewhere/worker:1"}},
            "spec.worker.image is 'elsewhere/worker:1', and images here begin",
        ),
        ({"worker": {"image": "registry.example.com/team-evil/x:1"}}, f"images here begin with {REGISTRY} or example/"),
    ],
)
def test_what_exceeds_a_cap_is_refused_with_the_field_the_cap_and_the_way_out(
    capped: Kubectl, spec: dict[str, Any], words: str
) -> None:
    _, refusal = try_create(capped, noop("above", spec.pop("source", inline(1)), **spec))
    assert words in refusal
    assert "policies.caps." in refusal


@pytest.mark.parametrize(("rate", "shown"), [(None, "not set"), (61, "61")])
def test_mail_needs_a_rate_within_the_cap(capped: Kubectl, rate: int | None, shown: str) -> None:
    _, refusal = try_create(capped, email("mails", inline(1), email=mail(rate)))
    assert f"spec.email.ratePerMinute is {shown}, and at most 60 is allowed here. Set it" in refusal


def test_what_keeps_to_the_caps_is_accepted(capped: Kubectl) -> None:
    worker = {"image": DIGEST, "resources": LIMITS}
    manifests = (
        noop("within", inline(3), parallelism=4, concurrency=16, worker=worker),
        noop("default-image", inline(1)),
        noop("from-a-file", {"configMapRef": {"name": "items", "key": "items.jsonl"}}),
        email("mails", inline(1), email=mail(60)),
    )
    for manifest in manifests:
        found, said = try_create(capped, manifest)
        assert found, said


def test_what_was_above_the_caps_before_can_be_paused_and_lowered_but_not_raised(capped: Kubectl) -> None:
    def patch(spec: str) -> str:
        return capped("patch", "batchjob", "older", "--type=merge", "-p", f'{{"spec":{spec}}}')

    assert "patched" in patch('{"suspend":true}')
    with pytest.raises(KubectlError, match=r"spec\.parallelism is 9, and at most 4 is allowed"):
        patch('{"parallelism":9}')
    assert "patched" in patch('{"parallelism":7}')


@pytest.mark.parametrize(
    ("image", "is_warned"),
    [
        ("example/worker", True),
        ("example/worker:latest", True),
        (f"{REGISTRY}worker", True),
        ("example/worker:1.2", False),
        (DIGEST, False),
    ],
)
def test_an_image_without_a_fixed_version_is_accepted_with_a_warning(
    capped: Kubectl, image: str, is_warned: bool
) -> None:
    found, warnings = try_create(capped, noop("pinned", inline(1), worker={"image": image, "resources": LIMITS}))
    assert found
    assert ("spec.worker.image names no fixed version" in warnings) == is_warned


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (noop("risky", inline(1), worker={"image": DIGEST}), "spec.worker.resources.limits.memory is not set"),
        (email("risky", inline(1), email=mail(1) | PLAIN), "spec.email.smtp.tls is none"),
        (REPORT, "spec.report.deliver.email.smtp.tls is none"),
        (
            ai_batch(
                "risky",
                inline(1),
                aiBatch={
                    "instructions": "x",
                    "formSchema": {"fields": [{"name": "a", "type": "string"}]},
                    "model": {"name": "m", "baseUrl": "http://m/v1", "apiKeySecretRef": {"name": "s", "key": "k"}},
                },
            ),
            "spec.aiBatch.model.baseUrl is http",
        ),
    ],
    ids=["limit", "smtp", "report", "model"],
)
def test_what_is_risky_is_accepted_with_a_warning(capped: Kubectl, manifest: dict[str, Any], words: str) -> None:
    found, warnings = try_create(capped, manifest)
    assert found, warnings
    assert words in warnings


def test_mail_without_a_rate_is_warned_of_where_no_cap_demands_one(capped: Kubectl) -> None:
    there = capped.within("warned")
    there.ensure_namespace()
    install_policies(capped, "warned", ["warned"])
    manifest = email("fast", inline(1))
    wait_in_force(lambda: "spec.email.ratePerMinute is not set" in try_create(there, manifest)[1], "the warning")
    assert try_create(there, noop("plain", inline(1)))[1] == ""


@pytest.mark.parametrize("policy", ["caps", "warnings"])
def test_the_api_server_finds_nothing_wrong_with_the_types_of_the_rules(capped: Kubectl, policy: str) -> None:
    seen = wait_until(
        lambda: capped.get(VALIDATING, f"{SYSTEM}-{RELEASE}-{policy}"),
        "the types of the rules to be checked",
        until=lambda found: found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"],
    )
    assert not seen["status"].get("typeChecking", {}).get("expressionWarnings")


def test_a_schedules_template_is_held_to_the_caps_too(capped: Kubectl) -> None:
    template = {"spec": noop("capped", inline(1), parallelism=5)["spec"]}
    with pytest.raises(KubectlError, match=r"spec\.parallelism is 5, and at most 4 is allowed here"):
        capped.apply(batch_schedule("too-wide", template=template))
    capped.apply(batch_schedule("fits"))
