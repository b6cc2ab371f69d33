"""With what `batchjob run` ends; bad input is `api.run.EXIT_CONFIGURATION`, as with a worker."""

from typing import Final

EXIT_SUCCEEDED: Final = 0
EXIT_FAILED: Final = 1
SIGNALLED: Final = 128  # the exit code of a signal is above this by its number
