"""TF Serving's `models.config`, and which labels may move while it runs."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kbig.errors import UsageError
from kbig.inspection.versions import versions

if TYPE_CHECKING:
    from kbig.export.deployment import Deployment

FILE = "models.config"
_NAME = re.compile(r'^\s*name: "([^"]*)"$', re.M)
_VERSION = re.compile(r"^\s*versions: (\d+)$", re.M)
_LABEL = re.compile(r'^\s*key: "([^"]*)"\s+value: (\d+)$', re.M)


@dataclasses.dataclass(frozen=True)
class Served:
    """What a `models.config` has servers load.

    Args:
        name: of the model.
        versions: that are loaded.
        labels: versions by label.
    """

    name: str
    versions: tuple[int, ...]
    labels: Mapping[str, int]


def models_config(plan: Deployment, directory: pathlib.Path) -> str:
    """TF Serving's `models.config`: which versions, under which labels."""
    lines = [
        "model_config_list {",
        "  config {",
        f'    name: "{plan.name}"',
        f'    base_path: "/models/{plan.name}"',
        '    model_platform: "tensorflow"',
        "    model_version_policy {",
        "      specific {",
        *[f"        versions: {version}" for version in plan.loaded],
        "      }",
        "    }",
    ]
    for label, version in plan.labels.items():
        lines += [
            "    version_labels {",
            f'      key: "{label}"',
            f"      value: {version}",
            "    }",
        ]
    return "\n".join([*lines, "  }", "}", ""])


def read_models_config(text: str) -> Served | None:
    """Reads what `models_config` wrote.

    Args:
        text: of the file.

    Returns:
        What it has servers load; None of a file of another form.

    Example:
    ```python
    read_models_config(models_config(plan, directory)).labels  # {"stable": 1}
    ```
    """
    names = _NAME.findall(text)
    loaded = tuple(map(int, _VERSION.findall(text)))
    labels = {key: int(value) for key, value in _LABEL.findall(text)}
    if len(names) != 1 or not loaded or "stable" not in labels:
        return None
    return Served(names[0], loaded, labels)


def succeeding(
    plan: Deployment, directory: pathlib.Path, restart: bool
) -> Deployment:
    """Makes a plan one that servers of the deployment before it can follow.

    TF Serving assigns labels before it loads versions. One that it knows
    moves only to a version that is loaded; else it refuses the whole
    configuration, at every poll.

    Args:
        plan: from `deployment`.
        directory: where the deployment before it may be.
        restart: whether the servers are restarted: those know no labels.

    Returns:
        The plan, with the version that was stable among those to load.

    Raises:
        UsageError: a label would move to a version that is not loaded, or
            the configuration there is of another form.
    """
    try:
        served = _served(directory / FILE)
    except UsageError:
        if not restart:
            raise
        served = None
    if served is None or served.name != plan.name:
        return plan
    if not restart:
        _check_moves(plan, served)
    return dataclasses.replace(plan, kept=_kept(plan, served))


def _served(file: pathlib.Path) -> Served | None:
    if not file.exists():
        return None
    try:
        served = read_models_config(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        served = None
    if served is None:
        raise UsageError(
            "Which labels may move depends on the models.config that servers "
            f"run with, as `kbig serve` wrote it. Received: {file}, of another "
            "form. Pass --restart, and restart the servers afterwards."
        )
    return served


def _kept(plan: Deployment, served: Served) -> tuple[int, ...]:
    """The version to roll back to, as long as its folder is there."""
    former = served.labels["stable"]
    kept = {*served.versions} - {*served.labels.values()}
    if former != plan.stable:
        kept = {former}
    return tuple(sorted(kept & {*versions(plan.base)}))


def _check_moves(plan: Deployment, served: Served) -> None:
    moves = {
        label: version
        for label, version in plan.labels.items()
        if served.labels.get(label, version) != version
        and version not in served.versions
    }
    if not moves:
        return
    received = ", ".join(
        f"{label} from {served.labels[label]} to {version}"
        for label, version in moves.items()
    )
    raise UsageError(
        "Servers that run move a label only to a version that is loaded, and "
        "refuse the whole configuration otherwise. Received: "
        f"{received}; loaded {', '.join(map(str, served.versions))}. "
        + _remedy(plan, served, "stable" in moves)
    )


def _remedy(plan: Deployment, served: Served, is_stable: bool) -> str:
    """The steps there, each of which moves labels to loaded versions only."""
    former, steps = served.labels["stable"], []
    if is_stable and former not in versions(plan.base):
        return (
            f"The folder of version {former} is gone, so pass --restart and "
            "restart the servers afterwards."
        )
    if is_stable:
        # A label that is dropped first is free to come back anywhere.
        if served.labels.get("canary", plan.stable) != plan.stable:
            steps.append(f"--stable {former}")
        steps.append(f"--stable {former} --canary {plan.stable}")
    steps.append(f"--stable {plan.stable}")
    if plan.canary is not None:
        steps.append(f"--stable {plan.stable} --canary {plan.canary}")
    return (
        f"First pass {', then '.join(steps)}, each once all servers have read "
        "the one before and their status shows its versions AVAILABLE; or pass "
        "--restart and restart the servers afterwards."
    )
