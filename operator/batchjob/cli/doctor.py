"""`batchjob doctor`: the way to the cluster, the installation and one's rights, a line each with what to do."""

from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import click

from batchjob.cli.exits import ERROR, OK
from batchjob.cli.options import Place, placed
from batchjob.cli.rights import DISPENSABLE, RIGHTS, Right, in_words

GOOD: Final = "ok"
UNKNOWN: Final = "?"  # it may not be looked at
BAD: Final = "bad"
COLOURS: Final = {GOOD: "Succeeded", UNKNOWN: "Suspended", BAD: "Failed"}
SELECTOR: Final = "app.kubernetes.io/name=batchjob-operator,app.kubernetes.io/component="  # of the chart
UNSEEN: Final = timedelta(seconds=30)  # a burst of thousands has its first words by then
STALE: Final = timedelta(minutes=1)  # the operator renews its Lease every few seconds


class Finding(NamedTuple):
    """What was looked at, how it is, and what to do."""

    state: str
    about: str
    said: str


class Question(NamedTuple):
    """What one may do or not: as Right has it, a verb alone."""

    verb: str
    resource: str
    within: str


@click.command(epilog=in_words("doctor"))
@click.option(
    "--system-namespace", envvar="BATCHJOB_SYSTEM_NAMESPACE", show_envvar=True, default="batchjob-system",
    show_default=True, metavar="NAME", help="Where BatchJob is installed.",
)  # fmt: skip
@placed
def doctor(place: Place, *, system_namespace: str) -> int:
    """Check the way to the cluster, the installation, and what you may do. It exits with 1 where something is wrong."""
    from batchjob.cli.cluster import work

    return work(place, _doctor(place, system_namespace))


async def _doctor(place: Place, system: str) -> int:
    from batchjob.cli.output import clean, paint, say

    bad = 0
    async for finding in examine(place, system):
        bad += finding.state == BAD
        say(f"{paint(f'{finding.state:<4}', COLOURS[finding.state])} {finding.about}: {clean(finding.said)}")
        if finding.state == BAD and finding.about == "cluster":
            break
    return ERROR if bad else OK


async def examine(place: Place, system: str) -> AsyncIterator[Finding]:
    """Look at one thing after the other."""
    from batchjob.cli.cluster import in_words as explain
    from batchjob.cli.cluster import open_cluster
    from batchjob.errors import KubernetesError
    from batchjob.kube import BATCH_JOBS, BATCH_QUEUES, BATCH_SCHEDULES

    async with open_cluster(place) as cluster:
        server = cluster.kube.access.server
        try:
            lacking = [
                kind.plural
                for kind in (BATCH_JOBS, BATCH_QUEUES, BATCH_SCHEDULES)
                if not await cluster.kube.serves(kind)
            ]
        except KubernetesError as error:
            yield Finding(BAD, "cluster", f"{server}: {explain(error, place)}")
            return
        yield Finding(GOOD, "cluster", f"{server} answers; the namespace is {cluster.namespace}")
        if lacking:
            yield Finding(BAD, "kinds", f"the cluster has no {', '.join(lacking)}: install the chart batchjob-operator")
            return
        yield Finding(GOOD, "kinds", "BatchJob, BatchQueue and BatchSchedule are there")
        operators = await _pods(cluster, system, "operator")
        yield judge_pods("operator", system, operators)
        yield judge_pods("gateway", system, await _pods(cluster, system, "gateway"))
        yield await _lease(cluster, system, operators)
        yield await _rights(cluster, system)
        yield await _stalled(cluster)


async def _pods(cluster: Any, system: str, component: str) -> Sequence[Mapping[str, Any]] | None:
    from batchjob.errors import Forbidden
    from batchjob.kube import PODS

    try:
        found: Sequence[Mapping[str, Any]] = (await cluster.kube.list(PODS, system, labels=SELECTOR + component)).items
    except Forbidden:
        return None
    return found


def judge_pods(about: str, system: str, pods: Sequence[Mapping[str, Any]] | None) -> Finding:
    """Whether some of its pods are ready; None: they may not be seen. Pure."""
    if pods is None:
        return Finding(UNKNOWN, about, f"you may not list pods in the namespace {system}")
    if not pods:
        if about == "gateway":
            return Finding(
                UNKNOWN, about, f"it is not installed in {system}: items, errors, results and queries need it"
            )
        return Finding(BAD, about, f"it has no pods in {system}: install the chart, or name its --system-namespace")
    ready = sum(
        any(
            one.get("type") == "Ready" and one.get("status") == "True"
            for one in (pod.get("status") or {}).get("conditions") or ()
        )
        for pod in pods
    )
    said = f"{ready} of {len(pods)} pods are ready in {system}"
    return (
        Finding(GOOD, about, said) if ready else Finding(BAD, about, f"{said}: kubectl -n {system} get pods says why")
    )


async def _lease(cluster: Any, system: str, operators: Sequence[Mapping[str, Any]] | None) -> Finding:
    from batchjob.errors import Forbidden
    from batchjob.kube import LEASES

    try:
        found = (await cluster.kube.list(LEASES, system)).items
    except Forbidden:
        return Finding(UNKNOWN, "leader", f"you may not list leases in the namespace {system}")
    if operators is None:
        return Finding(UNKNOWN, "leader", f"you may not list pods in the namespace {system}, of which one would lead")
    return judge_lease(found, {pod["metadata"]["name"] for pod in operators}, datetime.now(UTC))


def judge_lease(found: Sequence[Mapping[str, Any]], operators: AbstractSet[str], now: datetime) -> Finding:
    """Whether one of the operator's pods leads. Pure."""
    from batchjob.cli.views import age, parse_time

    # Its name tells nothing, since a release may have any: other controllers have Leases here, too.
    specs = [one.get("spec") or {} for one in found]
    ours = [spec for spec in specs if spec.get("holderIdentity") in operators]
    spec = max(ours, key=lambda one: str(one.get("renewTime")), default={})
    renewed, holder = spec.get("renewTime"), spec.get("holderIdentity")
    if not renewed or not holder:
        return Finding(BAD, "leader", "no operator leads: nothing is done until one of its pods does")
    if now - parse_time(renewed) > STALE:
        return Finding(BAD, "leader", f"{holder} led last {age(renewed, now)} ago: see its pods and their logs")
    return Finding(GOOD, "leader", f"{holder}")


async def _rights(cluster: Any, system: str) -> Finding:
    from batchjob.kube import SELF_REVIEWS

    allowed: dict[Question, bool] = {}
    for question, (right, _) in questions().items():
        body = build_review(right, question.verb, cluster.namespace, system)
        answer = await cluster.kube.create(SELF_REVIEWS, None, body)
        allowed[question] = bool((answer.get("status") or {}).get("allowed"))
    return judge_rights(allowed, cluster.namespace, system)


def questions() -> dict[Question, tuple[Right, list[str]]]:
    """What to ask about rights, once each, and which commands need it, with the condition under which they do. Pure."""
    found: dict[Question, tuple[Right, list[str]]] = {}
    for command, rights in RIGHTS.items():
        for right in rights:
            if right.when in DISPENSABLE:
                continue
            for verb in right.verbs:
                _, commands = found.setdefault(Question(verb, right.resource, right.within), (right, []))
                commands.append(f"{command} {right.when}".rstrip())
    return found


def judge_rights(allowed: Mapping[Question, bool], namespace: str, system: str) -> Finding:
    """What of the rights that commands need one does not have. Pure."""
    told = "; ".join(
        f"{one.verb} {one.resource}{f' in {system}' if one.within == 'system' else ''} (of {', '.join(commands)})"
        for one, (_, commands) in questions().items()
        if not allowed[one]
    )
    if not told:
        return Finding(GOOD, "rights", f"you may do all in the namespace {namespace}")
    return Finding(UNKNOWN, "rights", f"in the namespace {namespace} you lack {told}")


def build_review(right: Right, verb: str, namespace: str, system: str) -> dict[str, Any]:
    """The question whether one may do that. Pure."""
    resource, _, subresource = right.resource.partition("/")
    where = {"namespace": namespace, "system": system}.get(right.within)
    attributes = {"verb": verb, "group": right.group, "resource": resource, "subresource": subresource}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes | ({"namespace": where} if where else {})},
    }


async def _stalled(cluster: Any) -> Finding:
    from batchjob.errors import Forbidden
    from batchjob.kube import BATCH_JOBS

    try:
        found = (await cluster.kube.list(BATCH_JOBS, cluster.namespace)).items
    except Forbidden:
        return Finding(UNKNOWN, "batchjobs", f"you may not list those of the namespace {cluster.namespace}")
    return judge_jobs(found, datetime.now(UTC))


def judge_jobs(found: Sequence[Mapping[str, Any]], now: datetime) -> Finding:
    """Whether some wait for somebody, for the store, or for an operator that does not look at them. Pure."""
    from batchjob.cli.views import parse_time
    from batchjob.core.phases import TERMINAL
    from batchjob.core.reasons import Reason

    stalled, unseen = [], []
    for item in found:
        status, name = item.get("status") or {}, item["metadata"]["name"]
        reasons = {
            one.get("reason")
            for one in status.get("conditions") or ()
            if one.get("status") == "True"
            and (one.get("type") == "Stalled" or one.get("reason") == Reason.STORE_UNAVAILABLE)
        }
        if status.get("phase") in TERMINAL:
            continue
        if reasons:
            stalled.append(f"{name} ({', '.join(sorted(map(str, reasons)))})")
        # -1 is the default of the CRD.
        elif (
            status.get("observedGeneration", -1) < 0
            and now - parse_time(item["metadata"]["creationTimestamp"]) > UNSEEN
        ):
            unseen.append(name)
    if unseen:
        said = f"the operator has not looked at {len(unseen)}: {', '.join(unseen[:5])}"
        return Finding(BAD, "batchjobs", f"{said}; does it watch this namespace (watchNamespaces of the chart)?")
    if stalled:
        return Finding(
            BAD, "batchjobs", f"{len(stalled)} cannot go on: {', '.join(stalled[:5])}; batchjob status says why"
        )
    return Finding(GOOD, "batchjobs", f"none of {len(found)} stands still")
