"""With what `batchjob run` ends; bad input is `api.run.EXIT_CONFIGURATION`, as with a worker."""

import signal
from typing import Final

EXIT_SUCCEEDED: Final = 0
EXIT_FAILED: Final = 1
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a Ctrl-C, a kill, a terminal that is closed
SIGNALLED: Final = 128  # the exit code of a signal is above this by its number
