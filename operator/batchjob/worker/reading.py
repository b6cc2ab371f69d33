"""Files that a processor reads beside its items, such as a list or an attachment: whole, and up to a limit.

By the readers of sources, with their limits on silence and their care about addresses.
"""

from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import quote

from batchjob.api.run import Purpose
from batchjob.api.source import Location
from batchjob.core.retry import Retry
from batchjob.errors import ConfigurationError, InvalidSource, SourceUnreachable
from batchjob.files.mounts import mount_paths
from batchjob.files.urls import check_whole
from batchjob.worker.sources.opening import open_reader

if TYPE_CHECKING:
    from batchjob.worker.context import Context


class Folder:
    """A place of the spec with files to read."""

    def __init__(self, context: "Context", place: Location, field: str, purposes: tuple[Purpose, Purpose]) -> None:
        """`field`: how the spec calls it; `purposes`: which of the run's references hold its keys and its CA.

        ConfigurationError where its URL has a query, which may be a secret too: no name can follow it.
        """
        check_whole(place.url, f"{field}.url")
        self._place = place
        self._field = field
        self._mounted = mount_paths(context.run.spec)
        self._references = context.reference(purposes[0]), context.reference(purposes[1])

    async def read(self, name: str, limit: int) -> bytes:
        """What the file of that name holds, at most `limit` bytes.

        Raises:
            ConfigurationError: the name leads out of the folder, the file is not there or is larger, or something has
                to be mended before it can be read.
            Retry: it cannot be read now.
        """
        if any(step in {"", ".", ".."} for step in name.split("/")) or not name.isprintable():
            said = f"{name!r:.80} is no file below {self._place.url}: write a path such as a/b.pdf"
            raise ConfigurationError(f"{self._field}: {said}")
        url = f"{self._place.url.rstrip('/')}/{quote(name)}"
        file = self._place.model_copy(update={"url": url})
        body = BytesIO()  # gives away what it holds without a copy
        try:
            async for block in open_reader(file, self._field, self._mounted, self._references).blocks():
                body.write(block)
                if body.tell() > limit:
                    raise ConfigurationError(f"{self._field}: {url} is larger than {limit:,} bytes: make it smaller")
        except InvalidSource as error:
            raise ConfigurationError(f"{self._field}: {error}") from None
        except SourceUnreachable as error:
            said = f"{self._field}: {error}"
            raise (ConfigurationError(said) if error.lasts else Retry(said)) from None
        return body.getvalue()
