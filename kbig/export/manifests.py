"""The text of each file of a deployment: pure functions of its plan."""

from __future__ import annotations

import hashlib
import os
import pathlib
from typing import TYPE_CHECKING

import yaml

from kbig.export.rollout import models_config

if TYPE_CHECKING:
    from kbig.export.deployment import Deployment

GRPC_PORT, REST_PORT = 8500, 8501
_ARGUMENTS = [
    "--model_config_file=/config/models.config",
    # What is written over the file is served a minute later.
    "--model_config_file_poll_wait_seconds=60",
    # Otherwise a label needs a version that is loaded before the first start.
    "--allow_version_labels_for_unavailable_models=true",
    "--enable_batching=true",
    "--batching_parameters_file=/config/batching.config",
]
# The image has neither curl nor wget.
_HEALTH = (
    "exec 3<>/dev/tcp/127.0.0.1/{port} && printf "
    "'GET /v1/models/{name} HTTP/1.1\\r\\nHost: localhost\\r\\n"
    "Connection: close\\r\\n\\r\\n' >&3 && grep -q '\"AVAILABLE\"' <&3"
)


def batching_config(plan: Deployment, directory: pathlib.Path) -> str:
    """TF Serving's `batching.config`: how rows are computed together."""
    values = {
        "max_batch_size": plan.max_batch_size,
        "batch_timeout_micros": 1000 * plan.batch_timeout_ms,
        "num_batch_threads": plan.cpus,
        # What waits longer is refused: UNAVAILABLE, and clients come back.
        "max_enqueued_batches": 100,
    }
    return "".join(f"{k} {{ value: {v} }}\n" for k, v in values.items())


def compose(plan: Deployment, directory: pathlib.Path) -> str:
    """`docker-compose.yml`: one server, with the models read-only."""
    source = os.path.relpath(plan.base.resolve(), directory.resolve())
    health = _HEALTH.format(port=REST_PORT, name=plan.name)
    host = f"[{plan.address}]" if ":" in plan.address else plan.address
    service = {
        "image": plan.image,
        "command": list(_ARGUMENTS),
        "labels": {"kbig.checksum.batching": _checksum(plan, directory)},
        "ports": [f"{host}:{port}:{port}" for _, port in _ports()],
        "volumes": [
            _bind(f"./{source}", f"/models/{plan.name}"),
            # The folder: a file that is replaced would stay the old one.
            _bind(".", "/config"),
        ],
        "healthcheck": {
            "test": ["CMD", "bash", "-c", health],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "60s",
        },
        "restart": "unless-stopped",
    }
    return _yaml({"services": {plan.name: service}})


def _checksum(plan: Deployment, directory: pathlib.Path) -> str:
    """Of what servers read only when they start: a new one restarts them."""
    read_once = "\n".join([*_ARGUMENTS, batching_config(plan, directory)])
    return hashlib.sha256(read_once.encode()).hexdigest()


def _bind(source: str, target: str) -> dict:
    return {
        "type": "bind",
        "source": source,
        "target": target,
        "read_only": True,
    }


def kubernetes(plan: Deployment, directory: pathlib.Path) -> str:
    """`kubernetes.yaml`: configuration, pods, service and scaling."""
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(plan, f"{plan.name}-config"),
        "data": {
            "models.config": models_config(plan, directory),
            "batching.config": batching_config(plan, directory),
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(plan, plan.name),
        "spec": {
            "selector": _labels(plan),
            "ports": [
                {"name": name, "port": port, "targetPort": name}
                for name, port in _ports()
            ],
        },
    }
    documents = [config, _pods(plan, directory), service, _scaling(plan)]
    return "---\n".join(map(_yaml, documents))


def _pods(plan: Deployment, directory: pathlib.Path) -> dict:
    volumes = [
        {
            "name": "models",
            "persistentVolumeClaim": {
                "claimName": f"{plan.name}-models",
                "readOnly": True,
            },
        },
        {"name": "config", "configMap": {"name": f"{plan.name}-config"}},
    ]
    checksum = {"checksum/batching": _checksum(plan, directory)}
    template = {
        "metadata": {"labels": _labels(plan), "annotations": checksum},
        "spec": {"containers": [_container(plan)], "volumes": volumes},
    }
    # The number of pods is the autoscaler's: to apply this again would
    # otherwise take back what it has added.
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(plan, plan.name),
        "spec": {
            "selector": {"matchLabels": _labels(plan)},
            "template": template,
        },
    }


def _container(plan: Deployment) -> dict:
    resources = {"cpu": str(plan.cpus), "memory": plan.memory}
    return {
        "name": "tensorflow-serving",
        "image": plan.image,
        "args": list(_ARGUMENTS),
        "ports": [
            {"name": name, "containerPort": port} for name, port in _ports()
        ],
        # TF Serving listens once all models have been loaded and warmed up.
        "startupProbe": {
            "tcpSocket": {"port": "rest"},
            "periodSeconds": 5,
            "failureThreshold": 60,
        },
        "readinessProbe": {
            "httpGet": {"path": f"/v1/models/{plan.name}", "port": "rest"},
            "periodSeconds": 5,
        },
        "livenessProbe": {"tcpSocket": {"port": "grpc"}, "periodSeconds": 10},
        # The autoscaler measures shares of what is requested.
        "resources": {
            "requests": resources,
            "limits": {"memory": plan.memory},
        },
        "volumeMounts": [
            {
                "name": "models",
                "mountPath": f"/models/{plan.name}",
                "subPath": plan.name,
                "readOnly": True,
            },
            {"name": "config", "mountPath": "/config", "readOnly": True},
        ],
    }


def _scaling(plan: Deployment) -> dict:
    cpu = {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 70},
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(plan, plan.name),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": plan.name,
            },
            "minReplicas": plan.replicas,
            "maxReplicas": plan.max_replicas,
            "metrics": [{"type": "Resource", "resource": cpu}],
        },
    }


def _ports() -> tuple[tuple[str, int], ...]:
    return ("grpc", GRPC_PORT), ("rest", REST_PORT)


def _metadata(plan: Deployment, name: str) -> dict:
    return {"name": name, "labels": _labels(plan)}


def _labels(plan: Deployment) -> dict:
    return {"app.kubernetes.io/name": plan.name}


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stay lines."""


def _represent(dumper: yaml.SafeDumper, text: str):
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent)


def _yaml(document: dict) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=80)
