"""Files that go along with a mail: read below `spec.email.files`, or made of the item."""

import mimetypes
from typing import Any, Final

from batchjob.api.blocks.email import Attachment
from batchjob.worker import ConfigurationError, Fail, Folder
from batchjob_processors.message import File
from batchjob_processors.templates import Templates

# Of all files of a mail. In the mail a byte takes four thirds, and many servers take 20 to 25 MB; a mail that is being
# sent is in memory three times over.
MAIL_BYTES: Final = 10 * 1024 * 1024
NAME_CHARACTERS: Final = 255  # that a file's name may have
_NO_NAME: Final = ("/", "\\", '"', "=?")  # the last begins an encoded word, which Python would decode: see message.py
_UNSAFE: Final = ("message/", "multipart/")  # a mail in a mail must not be encoded as other files are (RFC 2046)


class Attachments:
    """The attachments of a block; a file that every mail has is read once."""

    def __init__(self, found: list[Attachment], folder: Folder | None) -> None:
        """Compile the templates; ConfigurationError for one that is none. `folder`: None where no path is named."""
        self._found = found
        self._folder = folder
        self._kept: dict[str, bytes] = {}
        sources = {
            f"attachments[{n}].{kind}": source
            for n, attachment in enumerate(found)
            for kind in ("name", "path", "text")
            if (source := getattr(attachment, kind)) is not None
        }
        self._templates = Templates("spec.email", **sources)

    async def of(self, data: dict[str, Any]) -> list[File]:
        """The files for one item. Raises Fail, and Retry where one cannot be read now."""
        files: list[File] = []
        for n, attachment in enumerate(self._found):
            room = MAIL_BYTES - sum(len(file.body) for file in files)
            name = self._name(n, data)
            body = await self._body(n, attachment, data, room)
            if len(body) > room:
                raise Fail(f"spec.email.attachments: more than {MAIL_BYTES:,} bytes with {name!r:.80}: send fewer")
            files.append(File(name, body, mime_type_of(name), attachment.content_id))
        return files

    def _name(self, n: int, data: dict[str, Any]) -> str:
        name = self._templates.render(f"attachments[{n}].name", data).strip()
        if not 0 < len(name) <= NAME_CHARACTERS or not name.isprintable() or any(sign in name for sign in _NO_NAME):
            raise Fail(f"spec.email.attachments[{n}].name is no name of a file: {name!r:.80}")
        return name

    async def _body(self, n: int, attachment: Attachment, data: dict[str, Any], room: int) -> bytes:
        if attachment.text is not None:
            return self._templates.render(f"attachments[{n}].text", data).encode()
        path = self._templates.render(f"attachments[{n}].path", data).strip()
        if (kept := self._kept.get(path)) is not None:
            return kept
        if self._folder is None:
            raise Fail("spec.email.files is missing, below which spec.email.attachments[].path is")
        try:
            body = await self._folder.read(path, room)
        except ConfigurationError as error:
            raise Fail(f"spec.email.attachments[{n}].path: {error}") from None
        if path == attachment.path:  # every mail has it
            self._kept[path] = body
        return body


def mime_type_of(name: str) -> str:
    """By the ending of a name: of a file that is packed, that of the packing, and not of what is inside."""
    kind, packed = mimetypes.guess_type(name)
    if packed:
        kind = "application/gzip" if packed == "gzip" else None
    return "application/octet-stream" if not kind or kind.startswith(_UNSAFE) else kind
