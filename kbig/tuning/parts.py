"""Small files of only what was trained, for a backbone kept elsewhere."""

import dataclasses
import hashlib
import json
import os
import pathlib
import uuid
from collections.abc import Collection
from collections.abc import Mapping

import keras
import numpy as np

import kbig
from kbig.errors import UsageError
from kbig.models.arguments import check_choice
from kbig.reporting.report import Report
from kbig.reporting.tables import Bytes
from kbig.tuning.adapters import AdaptedEncoder
from kbig.tuning.computations import computations
from kbig.tuning.lora import LoraEncoder
from kbig.tuning.methods import METHODS
from kbig.tuning.methods import Tuning
from kbig.tuning.methods import adds_layers
from kbig.tuning.methods import prepare
from kbig.tuning.methods import trained_names
from kbig.tuning.structure import roles
from kbig.tuning.structure import trainable_names
from kbig.tuning.structure import weight_names

_KIND = "kbig part"


@dataclasses.dataclass(frozen=True)
class PartReport(Report):
    """What `save_part` wrote.

    Args:
        path: the file.
        method: how the weights were trained.
        tensors: how many there are.
        parameters: numbers in them.
        size: of the file.
    """

    path: pathlib.Path
    method: str
    tensors: int
    parameters: int
    size: Bytes


def save_part(
    model: keras.Model, path: str | os.PathLike, method: str = ""
) -> PartReport:
    """Saves only the weights that are trainable, by the names of layers.

    The head's and the pooler's are saved always: no backbone is sure to
    bring the same ones, as many have no pooler.

    Args:
        model: that of `prepare`, trained.
        path: a safetensors file to write or replace.
        method: how it was trained, among `METHODS`. Empty finds it out by
            what is trainable, which cannot tell "layerwise", or "gradual" at
            its end, from "full". Of "gradual" any layers may be trainable.

    Returns:
        What was written.

    Raises:
        UsageError: the method is unknown or trains something else than what
            is trainable in `model`, or `path` is a directory.

    Example:
    ```python
    tuning = prepare(classifier, "lora")
    tuning.model.fit(...)
    print(save_part(tuning.model, "topics.safetensors"))
    ```
    """
    from safetensors.numpy import save

    path = pathlib.Path(path)
    if path.is_dir():
        raise UsageError(
            "A part is one file. "
            f"Received: path={os.fspath(path)!r}, a directory. Add a name."
        )
    trained = {*trainable_names(model), *trained_names(model, "frozen")}
    method = _method_of(model, trained, method)
    weights = weight_names(model)
    names = [n for n in weights if n in trained | _pooler_names(model)]
    tensors = {name: np.asarray(weights[name]) for name in names}
    content = save(
        tensors,
        {
            "kind": _KIND,
            "kbig": kbig.__version__,
            "method": method,
            "options": json.dumps(_options_of(model)),
            "frozen_sha256": _fingerprint(weights, names),
            "computes": json.dumps(sorted(computations(model))),
        },
    )
    _write(path, content)
    count = sum(tensor.size for tensor in tensors.values())
    return PartReport(path, method, len(tensors), count, Bytes(len(content)))


def load_part(model: keras.Model, path: str | os.PathLike) -> Tuning:
    """Loads what `save_part` wrote onto the backbone it was trained on.

    Args:
        model: with the same backbone and a head of the same shape and
            `pooling`, without LoRA or adapters.
        path: the file.

    Returns:
        What `prepare` returns, with the weights of the file. Its model is
        `model` itself, or a new one where the method adds layers.

    Raises:
        UsageError: it is not such a file, was trained on another backbone,
            under another activation, epsilon or scale of the output, or does
            not fit the model; the message names what differs, and nothing
            was changed.

    Example:
    ```python
    backbone = kbig.pretrained.load("all-MiniLM-L6-v2").backbone
    # The recipes of kbig pool so, unless they are told otherwise.
    classifier = bert_classifier(backbone, num_classes=8, pooling="mean")
    model = load_part(classifier, "topics.safetensors").model
    ```
    """
    tensors, metadata = _read(path)
    method, options = metadata["method"], json.loads(metadata["options"])
    check_choice("method", method, METHODS)
    # What adds layers leaves `model` alone, so it may go before the checks.
    tuning = prepare(model, method, **options) if adds_layers(method) else None
    target = tuning.model if tuning else model
    _check_tensors(target, tensors, method, path)
    _check_computations(target, metadata, path)
    fingerprint = _fingerprint(weight_names(target), tensors)
    if fingerprint != metadata["frozen_sha256"]:
        raise UsageError(
            f"{path} was trained on other frozen weights than those of "
            f"`model`. Received: fingerprint {fingerprint[:12]}, expected "
            f"{metadata['frozen_sha256'][:12]}. Build the model from the "
            "same backbone."
        )
    tuning = tuning or prepare(model, method, **options)
    weights = weight_names(tuning.model)
    for name, tensor in tensors.items():
        weights[name].assign(tensor)
    return tuning


def _pooler_names(model) -> set[str]:
    ids = {id(w) for layer in roles(model).pooler for w in layer.weights}
    return {name for name, w in weight_names(model).items() if id(w) in ids}


def _method_of(model, names: set[str], method: str) -> str:
    if not method:
        encoder = roles(model).encoders[0]
        found = _METHOD_OF_CLASS.get(type(encoder), lambda x: "")(encoder)
        candidates = [found] if found else ["full", "frozen", "bitfit"]
        for candidate in candidates:
            if set(trained_names(model, candidate)) == names:
                return candidate
        raise UsageError(
            "What is trainable in `model` is not what any one method trains. "
            f"Received: {len(names)} trainable weights. Pass `method`, or "
            "`prepare` the model first."
        )
    check_choice("method", method, METHODS)
    expected = set(trained_names(model, method))
    frozen, more = sorted(expected - names), sorted(names - expected)
    if frozen or (more and method != "gradual"):
        raise UsageError(
            f"The method {method!r} trains other weights than those that are "
            f"trainable in `model`. Received: {frozen[:3]} frozen, "
            f"{more[:3]} trainable. `prepare` the model with the method "
            'first, or pass "gradual" for what `unfreeze` chose.'
        )
    return method


_METHOD_OF_CLASS = {
    LoraEncoder: lambda encoder: "lora",
    AdaptedEncoder: lambda encoder: encoder.placement,
}


def _options_of(model) -> dict:
    encoder = roles(model).encoders[0]
    if isinstance(encoder, LoraEncoder):
        return {
            "rank": encoder.lora_rank,
            "alpha": encoder.lora_alpha,
            "projections": encoder.lora_projections,
        }
    if isinstance(encoder, AdaptedEncoder):
        return {"adapter_dim": encoder.adapter_dim}
    return {}


def _fingerprint(
    weights: Mapping[str, keras.Variable], left_out: Collection[str]
) -> str:
    digest = hashlib.sha256()
    for name in sorted(set(weights) - set(left_out)):
        value = np.ascontiguousarray(weights[name])
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _check_computations(model, metadata, path) -> None:
    if "computes" not in metadata:
        return  # Of an earlier version.
    expected = set(json.loads(metadata["computes"]))
    found = computations(model)
    if expected != found:
        raise UsageError(
            f"{path} was trained in a model that computes otherwise: with "
            f"{sorted(expected - found)}. Received: a model with "
            f"{sorted(found - expected)}. Build the model as the one that "
            "was trained: the same `pooling` (the recipes of kbig take "
            '"mean"), activation and scale of the values.'
        )


def _check_tensors(model, tensors, method, path) -> None:
    weights = weight_names(model)
    required = set(trained_names(model, method))
    for problem, names in (
        ("lacks", required - set(tensors)),
        ("has, and the model does not,", set(tensors) - set(weights)),
    ):
        if names:
            raise UsageError(
                f"{path} {problem} {sorted(names)[:3]}. Received: "
                f"{len(tensors)} tensors of the method {method!r}. Build the "
                "model as the one that was trained."
            )
    for name, tensor in tensors.items():
        if tensor.shape != tuple(weights[name].shape):
            raise UsageError(
                f"{path} does not fit the model: {name} has the shape "
                f"{tuple(weights[name].shape)} there. Received: "
                f"{tensor.shape}. Build the model as the one that was trained."
            )


def _read(path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    from safetensors import SafetensorError
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"Cannot read {path} as safetensors: {error}. Received: "
            f"path={os.fspath(path)!r}. Pass what `save_part` wrote."
        ) from error
    if metadata.get("kind") != _KIND:
        raise UsageError(
            f"{path} is not a part that kbig saved. Received: metadata "
            f"{metadata}. Pass what `save_part` wrote."
        )
    return tensors, metadata


def _write(path: pathlib.Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        aside.write_bytes(content)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
