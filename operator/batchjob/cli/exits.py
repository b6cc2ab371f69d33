"""How commands end: exit codes, and refusals in a sentence."""

from typing import Final

from batchjob.errors import BatchJobError

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2  # the command line is wrong
JOB_FAILED: Final = 4  # the BatchJob failed, and none of its items succeeded; or it was cancelled
PARTLY_FAILED: Final = 5  # the BatchJob failed, and some of its items succeeded
TIMEOUT: Final = 124  # as of timeout(1)
INTERRUPTED: Final = 130  # 128 + SIGINT

EXIT_CODES: Final = {
    OK: "done; of wait and watch: the BatchJob is Complete",
    ERROR: "refused, not found, or it could not be done",
    USAGE: "the command line is wrong",
    JOB_FAILED: "the BatchJob failed, and none of its items succeeded, or it was cancelled (wait, watch)",
    PARTLY_FAILED: "the BatchJob failed, and some of its items succeeded (wait, watch)",
    TIMEOUT: "it had not ended in time (wait, watch)",
    INTERRUPTED: "stopped by Ctrl-C",
}


class Refused(BatchJobError):
    """A command that ends with a sentence, and its exit code."""

    def __init__(self, message: str, code: int = ERROR) -> None:
        super().__init__(message)
        self.code = code
