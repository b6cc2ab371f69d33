"""The worker: one asyncio process a pod that loads, claims, processes, commits and seals the items of one run.

The names here are public: a processor needs nothing else of BatchJob.
"""

from batchjob.api.status import ErrorClass
from batchjob.core.items import Cancelled, Failed, Item, Outcome, Retried, Succeeded
from batchjob.core.masking import mask
from batchjob.core.retry import Cancel, Fail, Retry
from batchjob.core.smtp import PERMANENT, quoted, refuses_login
from batchjob.errors import ConfigurationError
from batchjob.files.addresses import check_host
from batchjob.files.files import Files
from batchjob.files.secrets import read_secret
from batchjob.files.unreached import explain_unreached
from batchjob.worker.context import Context
from batchjob.worker.processor import Processor, Sealed
from batchjob.worker.ranges import open_range
from batchjob.worker.reading import Folder
from batchjob.worker.runtime import main

__all__ = [
    "PERMANENT",
    "Cancel",
    "Cancelled",
    "ConfigurationError",
    "Context",
    "ErrorClass",
    "Fail",
    "Failed",
    "Files",
    "Folder",
    "Item",
    "Outcome",
    "Processor",
    "Retried",
    "Retry",
    "Sealed",
    "Succeeded",
    "check_host",
    "explain_unreached",
    "main",
    "mask",
    "open_range",
    "quoted",
    "read_secret",
    "refuses_login",
]
