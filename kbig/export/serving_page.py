"""The page of commands of a deployment."""

from __future__ import annotations

import dataclasses
import ipaddress
import pathlib
import shlex
from typing import TYPE_CHECKING

from kbig.export.manifests import GRPC_PORT
from kbig.export.manifests import REST_PORT

if TYPE_CHECKING:
    from kbig.export.deployment import Deployment

_NO_OPTIONS = ("base", "stable", "canary", "kept")


def readme(plan: Deployment, directory: pathlib.Path) -> str:
    """The commands, for whoever finds the folder."""
    labels = ", ".join(f"{k} is version {v}" for k, v in plan.labels.items())
    return f"""# {plan.name}

{plan.image}: {labels}.

{_manners(plan)}
{_start(plan)}
{_other_version(plan, directory)}"""


def _manners(plan: Deployment) -> str:
    return f"""\
TF Serving asks nobody who they are: keep its ports inside a network that you
trust. `docker-compose.yml` publishes them on {plan.address}; `--address` is for
another one.

Send at most {plan.max_batch_size} rows at once. The server computes rows of
several requests for one signature together, for which all axes but the first
must be alike. Those of texts, tf.Examples and inputs of fixed sizes are; pad
token ids (`ids`) and other inputs of free length to one length. Requests of
different lengths that meet are all refused, "from different tasks have
different shapes": send them again, as `kbig predict` and `kbig.serving.Client`
do.

SavedModels of TensorFlow 2.21 (graph version 2474) ask for a reader of version
12 at least (`min_consumer`), and TensorFlow 2.20 is one of 2288, so that its
servers load them unless an operation is newer; a BERT with its tokenizer, a CNN
and an LSTM of kbig were tried.
"""


def _start(plan: Deployment) -> str:
    name, host = plan.name, _host(plan)
    predict = f"kbig predict --model {name}"
    return f"""\
## Docker

```
docker compose up --detach --wait
{predict} --url http://{host}:{REST_PORT} --label stable --text "..."
{predict} --url grpc://{host}:{GRPC_PORT} --text "..."
docker compose down
```

## Kubernetes

The claim `{name}-models` must be there, readable from every node, and hold
`{name}/<version>/`.

```
kubectl apply --filename kubernetes.yaml
kubectl rollout status deployment/{name}
kubectl port-forward service/{name} {REST_PORT}
```

Servers read `batching.config` only when they start; a checksum of it in both
files makes `docker compose up` and `kubectl apply` restart them for a new one.
"""


def _other_version(plan: Deployment, directory: pathlib.Path) -> str:
    again, stable = _command(plan, directory), plan.stable
    version = plan.canary or "N"
    return f"""\
## Another version

A server moves a label only to a version that it has loaded, and refuses the
whole configuration otherwise. So the next version is the canary first:

```
{again} --stable {stable} --canary {version}
curl http://{_host(plan)}:{REST_PORT}/v1/models/{plan.name}
{again} --stable {version}
```

TF Serving reads `models.config` once a minute; in Kubernetes
`kubectl apply --filename kubernetes.yaml` brings it there, a minute or two
later. Go on when all servers have read it and say of version {version} that
it is AVAILABLE. What was stable stays loaded, so that `--stable {stable}` rolls
back at once; `--memory` is for up to three versions. Before another canary pass
`--stable` alone: its label is free once all servers have read that.

If you restart the servers, labels may go anywhere: add `--restart`, and then

```
docker compose up --detach --wait --force-recreate
```

or, in Kubernetes,

```
kubectl apply --filename kubernetes.yaml
kubectl rollout restart deployment/{plan.name}
```
"""


def _host(plan: Deployment) -> str:
    """What reaches the published ports on this machine."""
    address = ipaddress.ip_address(plan.address)
    if address.is_unspecified:
        return "localhost"
    return f"[{address}]" if address.version == 6 else str(address)


def _command(plan: Deployment, directory: pathlib.Path) -> str:
    """`kbig serve` as it was called, but for the versions."""
    words = ["kbig", "serve", "--from", str(plan.base.resolve())]
    words += ["--out", str(directory.resolve()), "--overwrite"]
    for field in dataclasses.fields(plan):
        value = getattr(plan, field.name)
        # The name has no default, and so is always among them.
        if field.name not in _NO_OPTIONS and value != field.default:
            words += [f"--{field.name.replace('_', '-')}", str(value)]
    return shlex.join(words)
