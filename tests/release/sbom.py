"""What is in an image, as a CycloneDX document: Python's packages from the lock, Debian's from the image itself.

The lock is for all platforms: of a package whose marker is false in the image, the document says nothing. The same
image has the same document: its serial number is of its contents, and its time that of the commit.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import HeaderParser
from typing import Any, Final
from urllib.parse import quote
from uuid import NAMESPACE_OID, uuid5

from packaging.markers import Marker

from tests.release.version import ReleaseError

Document = dict[str, Any]

MARKER: Final = "uv:package:marker"


def build_sbom(python: str, dpkg_status: str, image: str, version: str, commit_time: int) -> Document:
    """The document of an image, from what `uv export` says of its extras and its /var/lib/dpkg/status."""
    document: Document = json.loads(python)
    project = document["metadata"]["component"]
    _drop_absent(document, _environment(dpkg_status))
    document["components"] += [project | {"purl": f"pkg:pypi/{project['name']}@{version}"}, *debian(dpkg_status)]
    document["metadata"] |= {
        "timestamp": datetime.fromtimestamp(commit_time, UTC).isoformat().replace("+00:00", "Z"),
        "component": {"type": "container", "bom-ref": image, "name": image, "version": version},
    }
    document["components"].sort(key=lambda component: str(component["purl"]))
    del document["serialNumber"]
    return document | {"serialNumber": uuid5(NAMESPACE_OID, json.dumps(document, sort_keys=True)).urn}


def _environment(dpkg_status: str) -> dict[str, str]:
    """What markers ask of: Debian's Python, the only one that an image has. Its machine is the one that builds it."""
    versions = {component["name"]: component["version"] for component in debian(dpkg_status)}
    found = re.match(r"((\d+\.\d+)[\d.]*)", versions.get("python3", ""))
    if found is None:
        raise ReleaseError("the image has no python3 of Debian's: which of the locked packages are in it is not known")
    return {
        "python_full_version": found[1],
        "python_version": found[2],
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_system": "Linux",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def _drop_absent(document: Document, environment: dict[str, str]) -> None:
    """Leave out the packages that are for other platforms; uv gives the same marker to those that only they need."""
    absent = {
        component["bom-ref"]
        for component in document["components"]
        for told in component.get("properties", ())
        if told["name"] == MARKER and not Marker(told["value"]).evaluate(environment)
    }
    document["components"] = [one for one in document["components"] if one["bom-ref"] not in absent]
    document["dependencies"] = [
        node | ({"dependsOn": [ref for ref in node["dependsOn"] if ref not in absent]} if "dependsOn" in node else {})
        for node in document["dependencies"]
        if node["ref"] not in absent
    ]


def debian(dpkg_status: str) -> Iterator[Document]:
    """The packages of Debian that are installed."""
    for paragraph in dpkg_status.strip().split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields["Status"] == "install ok installed":
            name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}"
            yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
