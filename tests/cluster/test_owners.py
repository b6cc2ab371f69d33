"""Whose a BatchJob is: the chart's policies on a real API server, asked as alice and bob."""

import json
from typing import Any

import pytest

from tests.cluster.conftest import SYSTEM
from tests.localcluster import ControlPlane
from tests.localcluster.tools import kubectl
from tests.support.cluster_jobs import Jobs
from tests.support.cluster_schedules import batch_schedule
from tests.support.kubectl import Kubectl, KubectlError, wait_until
from tests.support.manifests import inline, noop
from tests.support.policies import VALIDATING, grant, install_policies, remove_policies, try_create, wait_in_force

SHARED, LEAVING, OPEN, NAMED = "owners-shared", "owners-leaving", "owners-open", "owners-named"
RELEASE = "owned"


def role(kind: str, release: str = RELEASE) -> str:
    return f"{SYSTEM}-{release}-{kind}"


def person(control_plane: ControlPlane, name: str, namespace: str = SHARED) -> Kubectl:
    return Kubectl(kubectl(), control_plane.kubeconfig_of(name), namespace)


def owner(manifest: dict[str, Any]) -> str | None:
    found: str | None = manifest.get("spec", {}).get("owner")
    return found


@pytest.fixture(scope="module")
def administrator(admin: Kubectl, control_plane: ControlPlane) -> Kubectl:
    """The administrator, with the policies in force and alice and bob as editors."""
    found = admin.within(SHARED)
    for namespace in (SHARED, LEAVING, OPEN, NAMED):
        found.within(namespace).ensure_namespace()
    found("apply", "-f", "-", stdin=json.dumps(noop("ownerless", inline(1))))
    install_policies(found, RELEASE, [SHARED, LEAVING], "policies.owners.enabled=true")
    for namespace in (SHARED, LEAVING, OPEN, NAMED):
        for user in ("alice", "bob"):
            for right in ("view", "edit"):
                grant(found, user, role(right), namespace)
    alice = person(control_plane, "alice")
    wait_in_force(lambda: owner(try_create(alice, noop("probe", inline(1)))[0]) == "alice", "owners to be filled in")
    wait_in_force(lambda: not try_create(alice, noop("probe", inline(1), owner="x"))[0], "owners to be checked")
    return found


@pytest.fixture
def alice(administrator: Kubectl, control_plane: ControlPlane) -> Kubectl:
    """She may edit BatchJobs."""
    assert administrator.namespace == SHARED
    return person(control_plane, "alice")


@pytest.fixture
def bob(administrator: Kubectl, control_plane: ControlPlane) -> Kubectl:
    """So may he."""
    assert administrator.namespace == SHARED
    return person(control_plane, "bob")


def may(user: Kubectl, *right: str) -> bool:
    """Whether RBAC gives it by now; `kubectl auth can-i` says no with an error."""
    try:
        return user("auth", "can-i", *right).strip() == "yes"
    except KubectlError:
        return False


def made(user: Kubectl, name: str, **spec: Any) -> dict[str, Any]:
    user.apply(noop(name, inline(1), **spec))
    return user.get("batchjob", name)


def test_an_absent_owner_is_filled_in_with_who_creates_it(alice: Kubectl, bob: Kubectl) -> None:
    assert owner(made(alice, "filled-a")) == "alice"
    assert owner(made(bob, "filled-b")) == "bob"


@pytest.mark.parametrize("way", [("apply",), ("apply", "--server-side")], ids=["client-side", "server-side"])
def test_a_manifest_without_owner_can_be_applied_again_and_changes_nothing(
    alice: Kubectl, way: tuple[str, ...]
) -> None:
    name = f"again-{len(way)}"
    text = json.dumps(noop(name, inline(1)))
    alice(*way, "-f", "-", stdin=text)
    first = alice.get("batchjob", name)
    alice(*way, "-f", "-", stdin=text)
    second = alice.get("batchjob", name)
    assert (owner(second), second["metadata"]["generation"]) == ("alice", first["metadata"]["generation"])
    alice(*way, "-f", "-", stdin=json.dumps(noop(name, inline(1), suspend=True)))
    assert owner(alice.get("batchjob", name)) == "alice"


def test_nobody_creates_in_anothers_name(alice: Kubectl) -> None:
    assert owner(made(alice, "named-herself", owner="alice")) == "alice"
    with pytest.raises(KubectlError, match=r"spec\.owner is 'bob' and you are 'alice': set it to your user name"):
        made(alice, "named-bob", owner="bob")


def test_a_schedule_has_an_owner_as_a_batch_job_has(alice: Kubectl, bob: Kubectl) -> None:
    bob.apply(batch_schedule("bobs-schedule"))
    assert owner(bob.get("batchschedule", "bobs-schedule")) == "bob"
    with pytest.raises(KubectlError, match=r"it belongs to 'bob' \(spec\.owner\) and you are 'alice'"):
        alice("delete", "batchschedule", "bobs-schedule")
    with pytest.raises(KubectlError, match=r"spec\.owner is 'bob' and you are 'alice'"):
        alice.apply(batch_schedule("in-bobs-name", owner="bob"))
    bob("delete", "batchschedule", "bobs-schedule")


def test_nobody_edits_or_deletes_what_is_anothers(alice: Kubectl, bob: Kubectl) -> None:
    made(bob, "bobs")
    refused = r"it belongs to 'bob' \(spec\.owner\) and you are 'alice'\. Ask its owner"
    for verb in (
        ("patch", "batchjob", "bobs", "--type=merge", "-p", '{"spec":{"suspend":true}}'),
        ("annotate", "batchjob", "bobs", "by=alice"),
        ("delete", "batchjob", "bobs"),
        ("delete", "batchjobs", "--field-selector=spec.owner=bob"),
    ):
        with pytest.raises(KubectlError, match=refused):
            alice(*verb)
    with pytest.raises(KubectlError, match=refused):
        made(alice, "bobs", suspend=True)
    bob("patch", "batchjob", "bobs", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    bob("delete", "batchjob", "bobs")


def test_the_status_of_anothers_is_guarded_even_where_rbac_lets_one_write_it(
    administrator: Kubectl, alice: Kubectl, bob: Kubectl
) -> None:
    made(bob, "bobs-status")
    administrator("create", "role", "status", "--verb=patch", "--resource=batchjobs.batchjob.dev/status")
    administrator("create", "rolebinding", "status", "--role=status", "--user=alice")
    right = ("patch", "batchjobs.batchjob.dev", "--subresource=status")
    wait_until(lambda: may(alice, *right), "the API server to know of her right")
    with pytest.raises(KubectlError, match="it belongs to 'bob'"):
        alice(
            *("patch", "batchjob", "bobs-status", "--subresource=status", "--type=merge"),
            *("-p", '{"status":{"phase":"Failed"}}'),
        )


def test_who_holds_impersonate_owner_acts_for_others(administrator: Kubectl, alice: Kubectl, bob: Kubectl) -> None:
    made(bob, "looked-after")
    grant(administrator, "alice", role("impersonate-owner"), SHARED)
    try:
        wait_until(lambda: try_create(alice, noop("probe", inline(1), owner="bob"))[0], "alice to hold the verb")
        assert owner(made(alice, "for-bob", owner="bob")) == "bob"
        alice("patch", "batchjob", "looked-after", "--type=merge", "-p", '{"spec":{"suspend":true}}')
        alice("delete", "batchjob", "looked-after")
    finally:
        administrator("delete", "rolebinding", f"alice-{role('impersonate-owner')}")
    wait_until(lambda: not try_create(alice, noop("probe", inline(1), owner="bob"))[0], "the verb to be gone")


def test_the_charts_roles_do_not_hold_the_verb_and_an_administrator_does(
    administrator: Kubectl, alice: Kubectl
) -> None:
    question = ("auth", "can-i", "impersonate-owner", "batchjobs.batchjob.dev")
    assert administrator(*question).strip() == "yes"
    with pytest.raises(KubectlError, match="no"):
        alice(*question)
    made(alice, "hers")
    administrator("delete", "batchjob", "hers")


def test_what_was_made_before_the_policies_has_no_owner_and_stays_everybodys(alice: Kubectl, bob: Kubectl) -> None:
    alice("patch", "batchjob", "ownerless", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    bob("patch", "batchjob", "ownerless", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    assert owner(bob.get("batchjob", "ownerless")) is None


@pytest.mark.usefixtures("operator")
def test_the_operator_works_for_everybody(administrator: Kubectl, bob: Kubectl) -> None:
    made(bob, "worked-on")
    jobs = Jobs(administrator)
    jobs.wait_phase("worked-on", "Running")
    bob("patch", "batchjob", "worked-on", "--type=merge", "-p", '{"spec":{"cancel":true}}')
    jobs.wait_phase("worked-on", "Cancelled")


@pytest.mark.usefixtures("operator")
def test_results_are_read_by_runs_of_their_owner_only(administrator: Kubectl, alice: Kubectl, bob: Kubectl) -> None:
    made(bob, "source-of-bob")
    jobs = Jobs(administrator)
    for name, user in (("alice", alice), ("bob", bob)):
        reader = noop(f"reader-{name}", {"resultsOf": {"batchJobName": "source-of-bob"}})
        user.apply(reader)
    condition = jobs.wait_condition("reader-alice", "Stalled", "NotAllowed")
    assert "belongs to bob and this one to alice" in condition["message"]
    jobs.wait_condition("reader-bob", "Queued", "DependencyNotMet")


def test_garbage_collection_takes_what_is_somebodys(administrator: Kubectl, bob: Kubectl) -> None:
    administrator("create", "configmap", "parent")
    uid = administrator.get("configmap", "parent")["metadata"]["uid"]
    manifest = noop("collected", inline(1))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": uid}
    manifest["metadata"]["ownerReferences"] = [reference]
    bob.apply(manifest)
    administrator("delete", "configmap", "parent")
    wait_until(lambda: not administrator.exists("batchjob", "collected"), "the BatchJob to be collected")


def test_a_namespace_can_be_deleted_with_what_is_in_it(administrator: Kubectl, control_plane: ControlPlane) -> None:
    made(person(control_plane, "bob", LEAVING), "goes-too", suspend=True)  # its pods would wait for a kubelet
    administrator("delete", "namespace", LEAVING, "--wait=false")
    left = ("get", "namespace", LEAVING, "--ignore-not-found", "-o", "jsonpath={.status}")
    wait_until(lambda: administrator(*left), "the namespace to be gone", until=lambda found: not found)


def test_outside_the_policies_everything_is_open(administrator: Kubectl, control_plane: ControlPlane) -> None:
    alice, bob = (person(control_plane, name, administrator.within(OPEN).namespace) for name in ("alice", "bob"))
    assert owner(made(alice, "free")) is None
    assert owner(made(alice, "in-anothers-name", owner="bob")) == "bob"
    bob("delete", "batchjob", "free")
    alice("delete", "batchjob", "in-anothers-name")


def test_the_api_server_finds_nothing_wrong_with_the_types_of_the_rules(administrator: Kubectl) -> None:
    name = role("owners")
    seen = wait_until(
        lambda: administrator.get(VALIDATING, name),
        "the types of the rules to be checked",
        until=lambda found: found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"],
    )
    assert not seen["status"].get("typeChecking", {}).get("expressionWarnings")


def test_where_nothing_fills_it_in_the_owner_has_to_be_named(
    administrator: Kubectl, control_plane: ControlPlane
) -> None:
    alice = person(control_plane, "alice", NAMED)
    settings = ("policies.owners.enabled=true", "policies.owners.fill=never")
    install_policies(administrator, "named", [NAMED], *settings)
    wait_in_force(lambda: not try_create(alice, noop("probe", inline(1)))[0], "owners to be demanded")
    with pytest.raises(KubectlError, match=r"spec\.owner is missing: set it to 'alice', your user name"):
        made(alice, "unnamed")
    with pytest.raises(KubectlError, match="and you are 'alice'"):
        made(alice, "anothers", owner="bob")
    assert owner(made(alice, "named", owner="alice")) == "alice"
    remove_policies(administrator, "named")
    wait_in_force(lambda: bool(try_create(alice, noop("probe", inline(1), owner="bob"))[0]), "the policies to be gone")
    assert owner(made(alice, "unnamed")) is None
