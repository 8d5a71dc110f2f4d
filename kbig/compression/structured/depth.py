"""Whole encoder layers: which are kept, and what they are called then."""

import re
from collections.abc import Sequence

import keras
import numpy as np

from kbig.compression.structured.backbone import encoders_of
from kbig.compression.structured.graph import graph_of
from kbig.compression.structured.graph import nodes_of
from kbig.compression.structured.rebuild import Edits
from kbig.errors import UsageError


def kept_layers(encoder_layers: int | Sequence[int], total: int) -> list[int]:
    """Tells which encoder layers stay.

    Args:
        encoder_layers: how many, or which ones, from 0. Of a number, the
            first and the last are kept and the others evenly in between, as
            DistilBERT starts from every other layer of BERT.
        total: how many there are.

    Returns:
        Their positions, ascending.

    Raises:
        UsageError: there are not as many.

    Example:
    ```python
    kept_layers(3, total=6)  # [0, 3, 5]
    ```

    Reference:
     - [Sanh et al., 2019](https://arxiv.org/abs/1910.01108)
    """
    if not total:
        raise UsageError(
            "`model` has no encoder layers to keep: none of its layers is a "
            f"TransformerEncoder. Received: encoder_layers={encoder_layers!r}. "
            "Leave it out."
        )
    if type(encoder_layers) is int and 1 <= encoder_layers <= total:
        places = np.linspace(0, total - 1, encoder_layers)
        return [int(x) for x in np.floor(places + 0.5)]
    is_list = isinstance(encoder_layers, list | tuple | range)
    kept = sorted(set(encoder_layers)) if is_list else []
    if kept and all(type(x) is int and 0 <= x < total for x in kept):
        return kept
    raise UsageError(
        f"`encoder_layers` must be a number from 1 to {total}, or positions "
        f"from 0 to {total - 1}: the model has {total} encoder layers. "
        f"Received: encoder_layers={encoder_layers!r}. Pass fewer."
    )


def check_chain(model: keras.Model, encoder_layers) -> None:
    """Raises unless each encoder layer reads what the one before it made.

    Args:
        model: with `TransformerEncoder` layers.
        encoder_layers: as of `plan_shrink`.

    Raises:
        UsageError: some are beside each other, as in two towers.
    """
    encoders, before = encoders_of(model), {}
    graph = graph_of(model)
    _follow(graph, [frozenset()] * len(graph.inputs), before)
    for first, second in zip(encoders, encoders[1:]):
        if id(first) not in before.get(id(second), ()):
            raise UsageError(
                "`encoder_layers` counts along one chain, in which each "
                "encoder layer comes after the one before it. Received: "
                f"encoder_layers={encoder_layers!r} for a model in which "
                f"{second.name} does not read {first.name}. Leave it out, or "
                "cut each tower by itself, as a model of its own."
            )


def _follow(graph, given, before) -> list[frozenset]:
    """Notes what each layer comes after; returns what the outputs do."""
    flows = dict(zip(map(id, graph.inputs), given))
    for node in nodes_of(graph):
        operation = node.operation
        read = frozenset().union(*(flows[id(x)] for x in node.input_tensors))
        inner = graph_of(operation)
        if inner is not None:
            made = _follow(inner, [read] * len(inner.inputs), before)
        else:
            made = [read | {id(operation)}] * len(node.outputs)
            before[id(operation)] = read | before.get(id(operation), read)
        flows.update(zip(map(id, node.outputs), made))
    return [flows[id(x)] for x in graph.outputs]


def without_layers(model: keras.Model, kept: Sequence[int]) -> Edits:
    """Edits that leave only some encoder layers.

    Args:
        model: with `TransformerEncoder` layers.
        kept: positions among them.

    Returns:
        Edits; layers that were numbered are numbered anew, without gaps.
    """
    encoders = encoders_of(model)
    left = [encoders[x] for x in kept]
    dropped = {id(x) for x in encoders} - {id(x) for x in left}
    matches = [re.fullmatch(r"(.*_)(\d+)", x.name) for x in encoders]
    names = {}
    if all(matches) and len({x[1] for x in matches}) == 1:
        stem, first = matches[0][1], int(matches[0][2])
        names = {id(x): f"{stem}{first + i}" for i, x in enumerate(left)}
    return Edits(dropped=frozenset(dropped), names=names)
