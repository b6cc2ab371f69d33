"""The objects of a run, checked by Kubernetes' own schemas and an independent model."""

import json
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
from kubernetes.client import V1Job

from batchjob.api.base import MAX_NAME
from batchjob.api.defaults import effective
from batchjob.api.pods import Variant
from batchjob.api.run import REFERENCES_DIR, Run, StoreAccess
from batchjob.controller.manifests import (
    UID_LABEL,
    PodSettings,
    Slots,
    build_job,
    build_secret,
    child_name,
    decode,
    slots_patch,
)
from tests.support.plan_world import batch_job

PODS = PodSettings("worker:1", "Always", 45, 3600, "debug")
RICH: dict[str, Any] = {
    "type": "ai-batch",
    "custom": None,
    "source": {
        "uri": {
            "url": "s3://bucket/items.jsonl",
            "credentialsSecretRef": {"name": "s3"},
            "caBundleRef": {"name": "ca"},
        }
    },
    "aiBatch": {
        "instructions": "x",
        "formSchema": {"fields": [{"name": "a", "type": "string"}]},
        "model": {"name": "m", "apiKeySecretRef": {"name": "openai", "key": "OPENAI_API_KEY"}},
    },
    "parallelism": 7,
    "results": {"destination": {"url": "file:///data/out"}},
    "worker": {
        "image": "mine:2",
        "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "batch", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "low",
        "serviceAccountName": "batch",
        "imagePullSecrets": [{"name": "registry"}],
        "envFrom": [{"secretRef": {"name": "env"}}, {"configMapRef": {"name": "more"}}],
        "volumes": [{"claimName": "data", "mountPath": "/data", "readOnly": False}],
    },
}


def image(spec: dict[str, Any], settings: PodSettings) -> str:
    job = build_job(batch_job(spec), settings, epoch="e1", index=0, slots=Slots(1))
    found: str = job["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


def test_pods_pull_with_the_secrets_of_the_spec_else_of_the_installation_and_send_spans_where_it_says() -> None:
    some = replace(PODS, pull_secrets=("mirror", "other"), variables={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"})
    for spec, names in ((RICH, ["registry"]), ({}, ["mirror", "other"])):
        pod = build_job(batch_job(spec), some, epoch="e1", index=0, slots=Slots(1))["spec"]["template"]["spec"]
        assert [secret["name"] for secret in pod["imagePullSecrets"]] == names
        told = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
        assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://c:4318"


def test_jobs_and_pods_have_the_labels_that_are_copied_and_pods_those_of_the_installation_but_ours_stay() -> None:
    some = replace(
        PODS,
        labels={"team": "platform", "sidecar": "no", "app.kubernetes.io/component": "x"},
        annotations={"example.com/logs": "json"},
        copied_labels=("team", "cost-centre", UID_LABEL),
    )
    own = {"team": "billing", "batch": "nightly", UID_LABEL: "another"}
    job = build_job(batch_job(labels=own), some, epoch="e1", index=0, slots=Slots(1))
    pod = job["spec"]["template"]["metadata"]
    ours = build_job(batch_job(labels=own), PODS, epoch="e1", index=0, slots=Slots(1))["metadata"]["labels"]
    assert job["metadata"]["labels"] == ours | {"team": "billing"}
    assert pod == {
        "labels": ours | {"team": "billing", "sidecar": "no"},
        "annotations": {"example.com/logs": "json"},
    }
    kubernetes_validate.validate(job, "1.37", strict=True)


def test_on_openshift_no_user_is_named_and_all_else_stays() -> None:
    user = {"runAsUser", "runAsGroup", "fsGroup"}
    plain, there = (
        build_job(batch_job(), settings, epoch="e1", index=0, slots=Slots(1))["spec"]["template"]["spec"]
        for settings in (PODS, replace(PODS, openshift=True))
    )
    assert set(plain["securityContext"]) - set(there["securityContext"]) == user
    assert plain | {"securityContext": there["securityContext"]} == there


def test_what_needs_a_variant_of_the_image_gets_it_without_asking_but_never_in_place_of_its_own() -> None:
    place = {"destination": {"url": "s3://b/x"}}
    parquet = {"type": "export", "custom": None, "export": {"format": "parquet", **place}}
    some = replace(PODS, variants={Variant.PARQUET: "worker-parquet:1"})
    assert image(parquet, some) == "worker-parquet:1"
    assert image({**parquet, "worker": {"image": "mine:2"}}, some) == "mine:2"
    assert image({**parquet, "export": {"format": "csv", **place}}, some) == "worker:1"
    assert image({}, some) == "worker:1"
    assert image(parquet, PODS) == "worker:1"


@pytest.fixture(params=["plain", "rich"])
def job(request: pytest.FixtureRequest) -> dict[str, Any]:
    spec = RICH if request.param == "rich" else {}
    return build_job(batch_job(spec), PODS, epoch="e1", index=0, slots=Slots(7))


def test_kubernetes_takes_every_field(job: dict[str, Any]) -> None:
    kubernetes_validate.validate(job, "1.37", strict=True)
    # The model drops what it does not know, so what comes back must be what went in.
    assert V1Job.model_validate(job).model_dump(mode="json", by_alias=True, exclude_none=True) == job


def test_the_secret_holds_both_documents() -> None:
    parsed = batch_job()
    run = Run(uid="uid-1", namespace="team", name="job", epoch="e1", spec=parsed.spec, effective=effective(parsed.spec))
    secret = build_secret(run, StoreAccess(url="redis://r", username="bj-uid-1", password="p"))
    kubernetes_validate.validate(secret, "1.37", strict=True)
    assert Run.model_validate_json(decode(secret, "run.json")) == run
    assert json.loads(decode(secret, "store.json"))["password"] == "p"
    assert secret["metadata"]["name"] == child_name("job", "uid-1", 0)


def test_slots_outlive_kills_drains_are_no_failures_and_a_bad_configuration_ends_the_job(job: dict[str, Any]) -> None:
    spec = job["spec"]
    assert spec["completions"] == spec["parallelism"]
    assert spec["completionMode"] == "Indexed"
    assert spec["backoffLimitPerIndex"] == 2
    assert spec["podReplacementPolicy"] == "Failed"
    rules = spec["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "Ignore", "FailJob"]
    assert rules[0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert [rule["onExitCodes"]["values"] for rule in rules[1:]] == [[143], [64]]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_pods_meet_the_restricted_standard_and_have_no_token(job: dict[str, Any]) -> None:
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_each_reference_is_mounted_below_its_purpose_with_no_more_than_the_key_it_names() -> None:
    pod = build_job(batch_job(RICH), PODS, epoch="e1", index=0, slots=Slots(7))["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert volumes["reference-model"]["secret"] == {
        "secretName": "openai",
        "items": [{"key": "OPENAI_API_KEY", "path": "OPENAI_API_KEY"}],
    }
    assert volumes["reference-source-credentials"]["secret"] == {"secretName": "s3"}
    assert volumes["reference-source-ca"]["configMap"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    for name in ("model", "source-credentials", "source-ca"):
        assert mounts[f"reference-{name}"] == f"{REFERENCES_DIR}/{name}"
    assert mounts["claim-0"] == "/data"
    assert set(volumes) == set(mounts)


def test_the_users_word_goes_before_the_installations() -> None:
    rich = build_job(batch_job(RICH), PODS, epoch="e1", index=0, slots=Slots(7))["spec"]["template"]["spec"]
    plain = build_job(batch_job(), PODS, epoch="e1", index=0, slots=Slots(7))["spec"]["template"]["spec"]
    assert (rich["containers"][0]["image"], plain["containers"][0]["image"]) == ("mine:2", "worker:1")
    assert (rich["serviceAccountName"], "serviceAccountName" in plain) == ("batch", False)


def test_labels_of_tools_are_not_copied_to_children() -> None:
    labels = {"app.kubernetes.io/instance": "argo", "team": "a"}
    job = build_job(batch_job(labels=labels), PODS, epoch="e1", index=0, slots=Slots(7))
    assert not labels.keys() & job["metadata"]["labels"].keys()
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]


def test_the_longest_name_still_fits_a_pods() -> None:
    pod_name = f"{child_name('x' * MAX_NAME, 'uid', 0)}-999"
    assert len(pod_name) <= 63
    assert len({child_name("a", "uid", index) for index in range(20)}) == 20
    assert child_name("a", "uid", 0) != child_name("a", "another", 0)


def test_both_numbers_of_slots_change_together() -> None:
    assert slots_patch(3, None) == {"spec": {"parallelism": 3, "completions": 3}}
    assert slots_patch(None, True) == {"spec": {"suspend": True}}
