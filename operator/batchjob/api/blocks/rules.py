"""Rules of a spec as a whole that its blocks bring along."""

from typing import Final

from batchjob.api.base import cel
from batchjob.api.blocks import export, report

SPEC_RULES: Final = (
    *export.SPEC_RULES,
    *report.SPEC_RULES,
    cel(
        "!has(self.email) || !has(self.email.dryRun) || !self.email.dryRun || "
        "has(self.results) && has(self.results.destination)",
        "spec.email.dryRun writes the mails to files: spec.results.destination says where, set it",
        field=".email.dryRun",
    ),
)
