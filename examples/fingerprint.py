"""A processor of one's own, for custom-fingerprint.yaml: fifteen lines, of which three do something."""

import hashlib

from batchjob.worker import Context, Fail, Item, Processor


class Fingerprint(Processor):
    """Known as `fingerprint`; the parameter `algorithm` is one of hashlib's."""

    async def open(self, context: Context) -> None:
        """Read the parameter."""
        self._algorithm = context.params.get("algorithm", "sha256")

    def process(self, item: Item, context: Context) -> dict[str, str]:
        """The fingerprint of the item's text."""
        text = item.data.get("text")
        if not text:
            raise Fail("the item has no text")
        context.usage("characters", len(text))
        return {"fingerprint": hashlib.new(self._algorithm, text.encode()).hexdigest()[:16]}
