"""What is in an image, as a CycloneDX document: Python's packages from the lock, Debian's from the image itself.

The same image has the same document: its serial number is of its contents, and its time that of the commit.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import HeaderParser
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_OID, uuid5

Document = dict[str, Any]


def build_sbom(python: str, dpkg_status: str, image: str, version: str, commit_time: int) -> Document:
    """The document of an image, from what `uv export` says of its extras and its /var/lib/dpkg/status."""
    document: Document = json.loads(python)
    project = document["metadata"]["component"]
    document["components"] += [project | {"purl": f"pkg:pypi/{project['name']}@{version}"}, *debian(dpkg_status)]
    document["metadata"] |= {
        "timestamp": datetime.fromtimestamp(commit_time, UTC).isoformat().replace("+00:00", "Z"),
        "component": {"type": "container", "bom-ref": image, "name": image, "version": version},
    }
    document["components"].sort(key=lambda component: str(component["purl"]))
    del document["serialNumber"]
    return document | {"serialNumber": uuid5(NAMESPACE_OID, json.dumps(document, sort_keys=True)).urn}


def debian(dpkg_status: str) -> Iterator[Document]:
    """The packages of Debian that are installed."""
    for paragraph in dpkg_status.strip().split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields["Status"] == "install ok installed":
            name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}"
            yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
