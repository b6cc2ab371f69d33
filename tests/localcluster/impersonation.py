"""Other users on a cluster whose API server is not ours to configure: the administrator impersonates them."""

from pathlib import Path

import yaml

from tests.localcluster.credentials import PEOPLE
from tests.localcluster.processes import run
from tests.localcluster.tools import kubectl


def render(admin_kubeconfig: str, name: str, group: str) -> str:
    """The administrator's kubeconfig, with every request made as somebody else."""
    config = yaml.safe_load(admin_kubeconfig)
    for entry in config["users"]:
        entry["user"] |= {"as": name, "as-groups": [group, "system:authenticated"]}
    return yaml.safe_dump(config)


def write_kubeconfig(admin: Path, user: str, folder: Path) -> Path:
    """Write the kubeconfig of alice or bob into `folder`; returns its path."""
    (person,) = (person for person in PEOPLE if person.kubeconfig == user)
    # Flattened: a path in it would be relative to the file it came from.
    flat = run([kubectl(), "--kubeconfig", admin, "config", "view", "--raw", "--flatten", "--minify"])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{user}.kubeconfig"
    file.touch(0o600)
    file.write_text(render(flat, person.name, person.group))
    return file
