"""What who asks may do: Kubernetes' own RBAC says so, by SubjectAccessReview, so kubectl and HTTP have one policy.

An admin is who may update batchqueues, and reads everybody's. Whose BatchJob another one's is, is not told: it is not
there (404). Our own account may act for anybody, so whether somebody may act for another owner is asked here too.
"""

from collections.abc import Mapping
from typing import Any, Final

from batchjob.api.blocks.report import ReportScope
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.gateway.attempts import Attempts
from batchjob.gateway.cache import Cache
from batchjob.gateway.code_flow import Begun, CodeFlow
from batchjob.gateway.credentials import Credentials
from batchjob.gateway.identity import Identity, Unauthenticated
from batchjob.gateway.problems import FORBIDDEN, UNAUTHENTICATED, Problem
from batchjob.gateway.reviews import review
from batchjob.kube import ACCESS_REVIEWS, BATCH_JOBS, BATCH_QUEUES, Kube, Resource

ANSWER_SECONDS: Final = 10.0  # a right that was taken away is there for so long
ACT_FOR: Final = "impersonate-owner"  # the verb of the chart's policy on owners
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="batchjob"'}


class Permissions:
    """What people may do, remembered for a moment."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._answers: Cache[tuple[Identity, str, Resource, str | None], bool] = Cache(ANSWER_SECONDS)

    async def allow(self, who: Identity, verb: str, resource: Resource, namespace: str | None = None) -> bool:
        """Whether they may."""
        return await self._answers.get(
            (who, verb, resource, namespace), lambda: self._ask(who, verb, resource, namespace)
        )

    async def _ask(self, who: Identity, verb: str, resource: Resource, namespace: str | None) -> bool:
        group = resource.api_version.rpartition("/")[0]
        plural, _, subresource = resource.plural.partition("/")
        attributes: dict[str, Any] = {"verb": verb, "group": group, "resource": plural}
        if subresource:
            attributes["subresource"] = subresource
        if namespace is not None:
            attributes["namespace"] = namespace
        spec = {"user": who.name, "groups": [*who.groups], "uid": who.uid, "resourceAttributes": attributes}
        return (await review(self._kube, ACCESS_REVIEWS, spec)).get("allowed") is True


class Caller:
    """Who asks, and what they may."""

    def __init__(self, identity: Identity, permissions: Permissions, default_namespace: str) -> None:
        self.identity = identity
        self._permissions = permissions
        self.namespace = identity.namespace or default_namespace

    @property
    def name(self) -> str:
        """The owner of what they make."""
        return self.identity.name

    async def may(self, verb: str, resource: Resource, namespace: str | None = None) -> bool:
        """Whether RBAC lets them."""
        return await self._permissions.allow(self.identity, verb, resource, namespace)

    async def need(self, verb: str, resource: Resource, namespace: str | None = None) -> None:
        """A 403 unless they may."""
        if not await self.may(verb, resource, namespace):
            where = f" in the namespace {namespace}" if namespace else ""
            raise Problem(
                FORBIDDEN, f"{self.name} may not {verb} {resource.plural}{where}: ask who gives rights in Kubernetes"
            )

    async def is_admin(self) -> bool:
        """Whether everything is theirs to see."""
        return await self._permissions.allow(self.identity, "update", BATCH_QUEUES)

    async def owns(self, owner: str | None) -> bool:
        """Whether what is `owner`'s is theirs; what is nobody's is the admins'."""
        return owner == self.name or await self.is_admin()

    async def need_for(self, owner: str | None, namespace: str) -> None:
        """A 403 unless they are the owner, or may act for others; what nobody owns needs no more, as over kubectl."""
        if owner not in {None, self.name} and not await self.may(ACT_FOR, BATCH_JOBS, namespace):
            raise Problem(
                FORBIDDEN,
                f"its owner is {owner}, and {self.name} may not {ACT_FOR} on {BATCH_JOBS.plural} in the namespace "
                f"{namespace}: ask that owner, or who gives rights in Kubernetes",
            )

    async def need_to_make(self, namespace: str, owner: str | None, spec: BatchJobSpec) -> None:
        """A 403 unless they may make such a BatchJob, or a schedule of it: the chart's policies do not ask us."""
        await self.need("create", BATCH_JOBS, namespace)
        await self.need_for(owner, namespace)
        if spec.report and spec.report.scope is ReportScope.ALL and not await self.is_admin():
            raise Problem(
                FORBIDDEN, "report.scope: all is for those who may update batchqueues: leave it out, or ask one of them"
            )


class Gate:
    """Who signs in how, and the rights: one for all requests of a process."""

    def __init__(
        self, credentials: Credentials, permissions: Permissions, attempts: Attempts, default_namespace: str
    ) -> None:
        self._credentials, self._permissions, self._attempts = credentials, permissions, attempts
        self._default_namespace = default_namespace

    async def admit(self, authorization: str | None, address: str | None = None) -> Caller:
        """Who sends this Authorization header; a 401 says what is wrong with it, a 429 that too much was.

        `address`: where it comes from; None where it was admitted before, and is looked at again.
        """
        try:
            if address is None:
                identity = await self._credentials.identify(authorization)
            else:
                identity = await self._attempts.identify(self._credentials.identify, authorization, address)
        except Unauthenticated as error:
            raise Problem(UNAUTHENTICATED, str(error), headers=CHALLENGE) from None
        return self._caller(identity)

    @property
    def code_flow(self) -> CodeFlow | None:
        """Our client at the issuer, where people sign in by browser."""
        return self._credentials.code_flow

    async def admit_back(
        self, flow: CodeFlow, query: Mapping[str, str], begun: Begun, address: str
    ) -> tuple[Caller, str]:
        """Who came back from the issuer, and the token that they sign in with; Unauthenticated says why nobody did."""
        tokens: list[str] = []

        async def ask(_: str | None) -> Identity:
            tokens.append(await flow.finish(query, begun))
            return await self._credentials.identify(f"Bearer {tokens[-1]}")

        identity = await self._attempts.identify(ask, query.get("code") or "none", address)
        return self._caller(identity), tokens[-1]

    def _caller(self, identity: Identity) -> Caller:
        return Caller(identity, self._permissions, self._default_namespace)
