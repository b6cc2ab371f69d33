"""The bucket where a gateway of a test stages uploads: the neighbours' S3 store."""

import json
import re
from pathlib import Path
from typing import Any, Final

import httpx2

from tests.support.neighbours.client import Neighbours

BUCKET: Final = "batchjob"
SECRET: Final = "batchjob-staging"
KEY: Final = "test"  # what the store lets in


class Bucket:
    """Where uploads are staged, with a prefix of one test."""

    def __init__(self, neighbours: Neighbours, folder: Path) -> None:
        self.neighbours, self.references = neighbours, folder
        self.prefix = folder.name.lower().replace("_", "-")
        credentials = folder / "credentials"
        credentials.mkdir()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            (credentials / name).write_text(KEY)
        self.settings: dict[str, Any] = {
            "staging_url": f"s3://{BUCKET}/{self.prefix}",
            "staging_endpoint": f"http://127.0.0.1:{neighbours.ports['s3']}",
            "staging_secret": SECRET,
            "staging_references_dir": str(folder),
        }

    @property
    def keys(self) -> list[str]:
        """What is staged."""
        return self.neighbours.list_objects(BUCKET, self.prefix)

    @property
    def unfinished(self) -> list[str]:
        """Keys of multipart uploads that were neither completed nor aborted."""
        answer = httpx2.get(f"{self.settings['staging_endpoint']}/{BUCKET}?uploads")
        return [key for key in re.findall("<Key>(.*?)</Key>", answer.text) if key.startswith(self.prefix)]

    def lines(self, key: str) -> list[Any]:
        """The items of an object."""
        return [json.loads(line) for line in self.neighbours.get_object(BUCKET, key).splitlines()]
