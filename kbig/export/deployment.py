"""What it takes to deploy a SavedModel: files for Docker and Kubernetes."""

import dataclasses
import ipaddress
import json
import os
import pathlib
import re

from kbig.errors import UsageError
from kbig.export import manifests
from kbig.export.record import RECORD
from kbig.export.rollout import models_config
from kbig.export.rollout import succeeding
from kbig.export.serving_page import readme
from kbig.export.staging import PART
from kbig.export.staging import publish_file
from kbig.export.staging import staging
from kbig.export.warmup import ROWS
from kbig.inspection.versions import versions

# The newest release whose source is tagged; serving_page.py says why it reads
# what a newer TensorFlow writes.
IMAGE = "tensorflow/serving:2.20.0"
# What Kubernetes takes as the name of a Service, with room for `-models`.
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?")


@dataclasses.dataclass(frozen=True)
class Deployment:
    """How one model is served.

    Args:
        name: that clients use; a DNS label.
        base: the folder of its versions.
        stable: the version with the label "stable".
        canary: the version with the label "canary", or None.
        image: of TF Serving.
        replicas: at least so many pods.
        max_replicas: at most so many.
        cpus: of one pod.
        memory: of one pod, as Kubernetes writes it.
        max_batch_size: rows that are computed together.
        batch_timeout_ms: milliseconds to wait for more rows.
        address: of this machine, on which Docker publishes the ports.
        kept: versions without a label that stay loaded, to roll back to.
    """

    name: str
    base: pathlib.Path
    stable: int
    canary: int | None = None
    image: str = IMAGE
    replicas: int = 2
    max_replicas: int = 8
    cpus: int = 2
    memory: str = "2Gi"
    max_batch_size: int = 32
    batch_timeout_ms: int = 2
    address: str = "127.0.0.1"
    kept: tuple[int, ...] = ()

    @property
    def labels(self) -> dict[str, int]:
        """Versions by label."""
        labels = {"stable": self.stable, "canary": self.canary}
        return {k: v for k, v in labels.items() if v is not None}

    @property
    def loaded(self) -> list[int]:
        """All versions that servers load."""
        return sorted({*self.labels.values(), *self.kept})


# File -> what it holds, of a deployment and the folder that it goes to.
FILES = {
    "models.config": models_config,
    "batching.config": manifests.batching_config,
    "docker-compose.yml": manifests.compose,
    "kubernetes.yaml": manifests.kubernetes,
    "README.md": readme,
}


def deployment(
    source: str | os.PathLike,
    *,
    name: str = "",
    stable: int | None = None,
    canary: int | None = None,
    **options,
) -> Deployment:
    """Finds a model's versions and checks how they should be served.

    Args:
        source: the folder of the versions, or a run directory with an
            exported SavedModel.
        name: that clients use; by default that of the export.
        stable: a version, by default the highest one.
        canary: another version, to send some of the requests to.
        **options: as of `Deployment`.

    Returns:
        The deployment.

    Raises:
        UsageError: there is no SavedModel or no such version, or an option
            that servers would not take.

    Example:
    ```python
    plan = deployment("saved_models/topics", stable=1, canary=2)
    write_deployment(plan, "deploy/topics")
    ```
    """
    base, known = _versions(pathlib.Path(source))
    stable = max(known) if stable is None else stable
    name = name or _recorded_name(known[max(known)]) or base.name
    plan = Deployment(name, base, stable, canary, **options)
    _check_versions(plan, [*known])
    _check_options(plan)
    return plan


def write_deployment(
    plan: Deployment,
    directory: str | os.PathLike,
    overwrite: bool = False,
    restart: bool = False,
) -> list[pathlib.Path]:
    """Writes `FILES`, each in one step.

    Args:
        plan: from `deployment`.
        directory: where to, made when missing.
        overwrite: whether files of an earlier deployment are replaced.
        restart: whether its servers will be restarted; those that run on
            move a label only to a version that they have loaded.

    Returns:
        The files.

    Raises:
        UsageError: the directory holds something else, or cannot be written;
            running servers would refuse to move a label.
    """
    directory = pathlib.Path(directory)
    check_free(directory, overwrite)
    plan = succeeding(plan, directory, restart)
    with staging(directory) as aside:
        staged = []
        for file, content in FILES.items():
            path = aside / file
            path.write_text(content(plan, directory), encoding="utf-8")
            staged.append(path)
        return [publish_file(path, directory) for path in staged]


def check_free(directory: pathlib.Path, overwrite: bool) -> None:
    """Makes sure that a deployment may be written into a directory.

    Args:
        directory: it need not be there.
        overwrite: whether an earlier deployment may be replaced.

    Raises:
        UsageError: it holds one, or something else.
    """
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UsageError(f"--out must be a directory. Received: {directory}")
    found = sorted(path.name for path in directory.iterdir())
    # What a run that was killed had begun to write is in nobody's way.
    found = [name for name in found if not name.startswith(PART)]
    others = [name for name in found if name not in FILES]
    if others:
        raise UsageError(
            f"{directory} holds what is no part of a deployment. "
            f"Received: {', '.join(others[:5])}. Pass another --out."
        )
    if found and not overwrite:
        raise UsageError(
            f"{directory} holds a deployment. Pass --overwrite to replace "
            "it, or another --out."
        )


def _versions(source: pathlib.Path) -> tuple[pathlib.Path, dict]:
    """The folder of the versions, and theirs by number."""
    for base in (source, source / "artefacts"):
        if found := versions(base):
            return base, found
    raise UsageError(
        "A model is served from a folder with <version>/saved_model.pb. "
        f"Received: {str(source)!r}. Pass saved_models/<name>, or the run "
        "directory that `kbig export-model --out` wrote a savedmodel into."
    )


def _recorded_name(folder: pathlib.Path) -> str:
    """The name that the export gave it; other SavedModels have none."""
    try:
        return str(json.loads((folder / RECORD).read_text("utf-8"))["name"])
    except (OSError, ValueError, KeyError):
        return ""


def _check_versions(plan: Deployment, versions: list[int]) -> None:
    missing = [v for v in plan.labels.values() if v not in versions]
    if missing or plan.stable == plan.canary:
        raise UsageError(
            "Stable and canary are two versions among "
            f"{', '.join(map(str, versions))} of {plan.base}. Received: "
            f"stable={plan.stable}, canary={plan.canary}"
        )


def _check_options(plan: Deployment) -> None:
    if not _LABEL.fullmatch(plan.name):
        near = re.sub(r"[^a-z0-9]+", "-", plan.name.lower()).strip("-")
        raise UsageError(
            "The name of a service is a DNS label: at most 50 lower-case "
            "letters, digits and hyphens, a letter first and no hyphen last. "
            f"Received: name={plan.name!r}. Pass one such as "
            f"--name {near[:50].strip('-') or 'model'}."
        )
    tag = plan.image.rpartition("/")[2].partition(":")[2]
    moves = tag.startswith(("latest", "nightly")) and "@" not in plan.image
    if not re.fullmatch(r"[\w./:@-]+", plan.image) or not tag or moves:
        raise UsageError(
            "An image names its version, so that all servers are alike. "
            f"Received: image={plan.image!r}. Pass one such as {IMAGE}."
        )
    if not _is_address(plan.address):
        raise UsageError(
            "`address` is an IP address of this machine. Received: "
            f"address={plan.address!r}. Pass 127.0.0.1 for this machine alone, "
            "0.0.0.0 for every network that it is in."
        )
    if not re.fullmatch(r"[1-9]\d*(Mi|Gi)", plan.memory):
        raise UsageError(
            "`memory` is a number and Mi or Gi. Received: "
            f"memory={plan.memory!r}. Pass one such as 2Gi."
        )
    if plan.max_batch_size < max(ROWS):
        raise UsageError(
            f"Warm-up requests of an export have up to {max(ROWS)} rows, and "
            "TF Serving loads no model whose warm-up it refuses. Received: "
            f"max_batch_size={plan.max_batch_size}. Pass {max(ROWS)} or more."
        )
    if plan.max_replicas < plan.replicas:
        raise UsageError(
            "There are at least `replicas` pods, at most `max_replicas`. "
            f"Received: replicas={plan.replicas}, "
            f"max_replicas={plan.max_replicas}"
        )


def _is_address(address: str) -> bool:
    try:
        # Docker takes none with a zone, such as fe80::1%eth0.
        return not getattr(ipaddress.ip_address(address), "scope_id", None)
    except ValueError:
        return False
