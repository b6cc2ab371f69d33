"""Who may have a report about all BatchJobs: the chart's policy on a real API server, asked as alice."""

import json
from typing import Any

import pytest

from tests.cluster.conftest import SYSTEM
from tests.localcluster import ControlPlane
from tests.localcluster.tools import kubectl
from tests.support.cluster_schedules import batch_schedule
from tests.support.kubectl import Kubectl, KubectlError
from tests.support.policies import grant, install_policies, try_create, wait_in_force

NAMESPACE, RELEASE = "reports-shared", "reports"
DELIVER = {"destination": {"url": "file:///data/reports"}}
REFUSED = r"spec\.report\.scope is 'all', and you are 'alice': .* the verb update on batchqueues\.batchjob\.dev"


def spec(scope: str, **fields: Any) -> dict[str, Any]:
    return {"type": "report", "report": {"scope": scope, "deliver": DELIVER}, **fields}


def report(name: str, scope: str, **fields: Any) -> dict[str, Any]:
    kind = {"apiVersion": "batchjob.dev/v1alpha1", "kind": "BatchJob"}
    return kind | {"metadata": {"name": name}, "spec": spec(scope, suspend=True, **fields)}


@pytest.fixture(scope="module")
def administrator(admin: Kubectl) -> Kubectl:
    """Who may update batchqueues, with the policy in force and alice as an editor."""
    found = admin.within(NAMESPACE)
    found.ensure_namespace()
    install_policies(found, RELEASE, [NAMESPACE])
    for right in ("view", "edit"):
        grant(found, "alice", f"{SYSTEM}-{RELEASE}-{right}", NAMESPACE)
    return found


@pytest.fixture
def alice(administrator: Kubectl, control_plane: ControlPlane) -> Kubectl:
    """She may edit BatchJobs."""
    found = Kubectl(kubectl(), control_plane.kubeconfig_of("alice"), administrator.namespace)
    wait_in_force(lambda: bool(try_create(found, report("probe", "owner"))[0]), "alice's rights")
    wait_in_force(lambda: not try_create(found, report("probe", "all"))[0], "the policy")
    return found


def test_a_report_on_all_takes_the_right_to_update_queues(administrator: Kubectl, alice: Kubectl) -> None:
    alice.apply(report("own", "owner"))
    with pytest.raises(KubectlError, match=REFUSED):
        alice.apply(report("everybodys", "all"))
    administrator.apply(report("everybodys", "all"))
    alice("patch", "batchjob", "everybodys", "--type=merge", "-p", '{"spec": {"cancel": true}}')


def test_the_gateway_which_asks_its_callers_itself_is_not_asked(administrator: Kubectl, alice: Kubectl) -> None:
    """By what its account may do, whoever asked it would be refused, admins too."""
    assert alice.namespace == NAMESPACE, "the policy is in force"

    def create(account: str, scope: str) -> str:
        user = f"system:serviceaccount:{SYSTEM}:{account}"
        grant(administrator, user, f"{SYSTEM}-{RELEASE}-edit", NAMESPACE)
        try:
            manifest = json.dumps(report("through-it", scope))
            return administrator("create", "--dry-run=server", f"--as={user}", "-f", "-", stdin=manifest)
        except KubectlError as error:
            return str(error)

    wait_in_force(lambda: "created" in create(f"{RELEASE}-gateway", "owner"), "its rights")
    wait_in_force(lambda: "created" in create(f"{RELEASE}-other", "owner"), "the other one's rights")
    assert "created" in create(f"{RELEASE}-gateway", "all")
    assert "takes the verb update on batchqueues" in create(f"{RELEASE}-other", "all")


def test_a_schedule_of_reports_on_all_may_be_paused_by_others_and_not_turned_elsewhere(
    administrator: Kubectl, alice: Kubectl
) -> None:
    with pytest.raises(KubectlError, match=REFUSED):
        alice.apply(batch_schedule("weekly", template={"spec": spec("all")}))
    administrator.apply(batch_schedule("weekly", template={"spec": spec("all")}))
    alice("patch", "batchschedule", "weekly", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    image = '{"spec": {"jobTemplate": {"spec": {"worker": {"image": "example/mine:1"}}}}}'
    with pytest.raises(KubectlError, match=REFUSED):
        alice("patch", "batchschedule", "weekly", "--type=merge", "-p", image)
    administrator("patch", "batchschedule", "weekly", "--type=merge", "-p", image)
