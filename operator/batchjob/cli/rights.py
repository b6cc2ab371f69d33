"""What each command needs of Kubernetes' RBAC: shown in its help and on its page, asked for by `doctor`. Values."""

from typing import Final, NamedTuple

GROUP: Final = "batchjob.dev"
LOOKED_AT: Final = "looked at where allowed"
SHOWN: Final = "shown where allowed"
DISPENSABLE: Final = frozenset({LOOKED_AT, SHOWN})  # `when` of what a command does without


class Right(NamedTuple):
    """One rule of a Role; `within`: the namespace of the BatchJobs, that of the installation, or all of the cluster."""

    verbs: tuple[str, ...]
    resource: str  # with its subresource
    group: str = GROUP
    within: str = "namespace"  # or system, cluster
    when: str = ""  # always, unless said

    def __str__(self) -> str:
        where = {"namespace": "", "system": " in the installation's namespace", "cluster": " in the cluster"}[
            self.within
        ]
        return f"{', '.join(self.verbs)} {self.resource}{where}{f' ({self.when})' if self.when else ''}"


def jobs(*verbs: str, when: str = "") -> Right:
    """Rights to BatchJobs."""
    return Right(verbs, "batchjobs", when=when)


LATEST: Final = jobs("list", when="for @latest")
FORWARD: Final = (
    Right(("list",), "pods", "", "system", "without --gateway"),
    Right(("get", "create"), "pods/portforward", "", "system", "without --gateway"),
)
RIGHTS: Final[dict[str, tuple[Right, ...]]] = {
    "ls": (
        jobs("list"),
        jobs("watch", when="with --watch"),
        *(right._replace(when="with a query") for right in FORWARD),
    ),
    "get": (jobs("get"), LATEST),
    "status": (jobs("get"), Right(("list",), "pods", "", when=SHOWN), LATEST),
    "wait": (jobs("get"), LATEST),
    "watch": (jobs("get"), LATEST),
    "submit": (
        jobs("create"),
        jobs("get", when="with --wait or --items"),
        *(right._replace(when="with --items") for right in FORWARD),
    ),
    "suspend": (jobs("get", "patch"), LATEST),
    "resume": (jobs("get", "patch"), LATEST),
    "cancel": (jobs("get", "patch"), LATEST),
    "redrive": (jobs("get", "create"), LATEST),
    "logs": (jobs("get"), Right(("list",), "pods", ""), Right(("get",), "pods/log", ""), LATEST),
    "items": (jobs("get"), *FORWARD, LATEST),
    "errors": (jobs("get"), *FORWARD, LATEST),
    "results download": (jobs("get"), *FORWARD, LATEST),
    "queue ls": (Right(("list",), "batchqueues", within="cluster"),),
    "queue pause": (Right(("get", "patch", "create"), "batchqueues", within="cluster"),),
    "queue resume": (Right(("get", "patch", "create"), "batchqueues", within="cluster"),),
    "schedule ls": (Right(("list",), "batchschedules"),),
    "schedule suspend": (Right(("get", "patch"), "batchschedules"),),
    "schedule resume": (Right(("get", "patch"), "batchschedules"),),
    "schedule run": (Right(("get",), "batchschedules"), jobs("create")),
    "top": (jobs("list"),),
    "doctor": (
        Right(("list",), "pods", "", "system", LOOKED_AT),
        Right(("list",), "leases", "coordination.k8s.io", "system", LOOKED_AT),
    ),
}


def in_words(command: str) -> str:
    """The rights that a command needs, as a sentence for its help."""
    found = RIGHTS.get(command)
    return f"Rights: {'; '.join(map(str, found))}." if found else ""
