"""Whether a report can be made, and may be. Pure."""

from batchjob.api.blocks.report import ReportScope
from batchjob.api.status import Phase
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.status import Verdict
from batchjob.core.reasons import Reason
from batchjob.core.zones import find_zone


def why_no_report(job: BatchJob) -> str | None:
    """Why it can never be made."""
    if job.spec.report is None:
        return None
    try:
        find_zone(job.spec.report.time_zone)
    except ValueError as error:
        return f"spec.report.timeZone: {error}: write one such as Europe/Berlin"
    return None


def refused_report(job: BatchJob, *, on_all: bool) -> Verdict | None:
    """The end of one about all BatchJobs where nobody has checked who may have that."""
    if job.spec.report is None or job.spec.report.scope is not ReportScope.ALL or on_all:
        return None
    message = (
        "spec.report.scope: all is off here (policies.reports of the chart): create the BatchJob again with scope: "
        "owner, or ask who runs BatchJob here."
    )
    return Verdict(Phase.FAILED, Reason.NOT_ALLOWED, message, stalled=True)
