"""Writes what it takes to serve a SavedModel by TF Serving.

kbig serve --from saved_models/topics --out deploy/topics

DIR gets models.config (versions, and the labels stable and canary),
batching.config, docker-compose.yml, kubernetes.yaml and a README.md with
the commands. --from is the folder of the versions, or the directory of a
run with an exported savedmodel. Nothing is started.

Servers that run move a label only to a version that they have loaded. With
--overwrite, another version is thus the canary first, and stable later; or
pass --restart and restart the servers.
"""

import dataclasses
import pathlib

from kbig.errors import UsageError
from recipes.config import CommandConfig
from recipes.config import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CommandConfig):
    """Options of `kbig serve`."""

    from_: str = option("", "folder of versions, or run directory")
    out: str = option("", "where to")
    name: str = option("", "name for clients; default from the export")
    stable: int = option(0, "version; 0 is the highest", minimum=0)
    canary: int = option(0, "a second version; 0 is none", minimum=0)
    image: str = option("", "of TF Serving; default tensorflow/serving:2.20.0")
    replicas: int = option(2, "pods, at least", minimum=1)
    max_replicas: int = option(8, "pods, at most", minimum=1)
    cpus: int = option(2, "of a pod", minimum=1)
    memory: str = option("2Gi", "of a pod")
    max_batch_size: int = option(32, "rows computed together", minimum=8)
    batch_timeout_ms: int = option(2, "wait for more rows", minimum=0)
    address: str = option("127.0.0.1", "where Docker publishes the ports")
    overwrite: bool = option(False, "replace an earlier deployment in --out")
    restart: bool = option(False, "labels move at once: you restart servers")


def run(config: Config) -> list[pathlib.Path]:
    """Checks, writes, and tells where."""
    from kbig.export.deployment import deployment
    from kbig.export.deployment import write_deployment

    if not config.from_ or not config.out:
        raise UsageError(
            "Pass the SavedModels and where to write: --from DIR --out DIR."
        )
    options = {"image": config.image} if config.image else {}
    plan = deployment(
        config.from_,
        name=config.name,
        stable=config.stable or None,
        canary=config.canary or None,
        replicas=config.replicas,
        max_replicas=config.max_replicas,
        cpus=config.cpus,
        memory=config.memory,
        max_batch_size=config.max_batch_size,
        batch_timeout_ms=config.batch_timeout_ms,
        address=config.address,
        **options,
    )
    files = write_deployment(plan, config.out, config.overwrite, config.restart)
    labels = ", ".join(f"{k} {v}" for k, v in plan.labels.items())
    print(f"model: {plan.name}, versions: {labels}")
    for file in files:
        print(f"written: {file}")
    if config.restart:
        print("Restart the servers; README.md there has the commands.")
    return files
