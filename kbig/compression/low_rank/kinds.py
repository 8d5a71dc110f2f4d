"""The layers that are a matrix, and the two thin ones each can become."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from kbig.compression.low_rank.equations import split_equation
from kbig.compression.low_rank.layers import FactorizedEmbedding
from kbig.compression.low_rank.math import factors
from kbig.compression.low_rank.math import most_rank


@dataclasses.dataclass(frozen=True)
class Kind:
    """What factorization must know of a class of layers.

    Args:
        weight: name of the attribute that holds the matrix.
        thin: makes two unbuilt layers of a layer, a rank and the name of the
            first; the second has the layer's own.
        axes: axes of the weight that meet the input, and the others; None
            when the layer is no product with one matrix.
        obstacle: why a layer of the class must stay whole, or nothing.
        constraint: name of the attribute with the weight's constraint.
    """

    weight: str
    thin: Callable[
        [keras.Layer, int, str], tuple[keras.Layer, keras.Layer] | keras.Layer
    ]
    axes: Callable[[keras.Layer], tuple | None] = lambda layer: ((0,), (1,))
    obstacle: Callable[[keras.Layer], str] = lambda layer: ""
    constraint: str = "kernel_constraint"


def kind_of(layer: keras.Layer) -> Kind | None:
    """Looks a layer up in the table.

    Args:
        layer: any layer.

    Returns:
        Its kind; None for a class that is not in the table, derived ones
        included, as they may compute something else.
    """
    package = type(layer).__module__.partition(".")[0]
    return _KINDS.get(f"{package}.{type(layer).__name__}")


def matrix_of(layer: keras.Layer) -> np.ndarray:
    """Reads the weight of a layer as a matrix.

    Args:
        layer: a built one of a known kind, without obstacles.

    Returns:
        float64 `(rows, columns)`, the rows meet the input.
    """
    kind = kind_of(layer)
    weight = keras.ops.convert_to_numpy(getattr(layer, kind.weight))
    input_axes, output_axes = kind.axes(layer)
    rows = np.prod([weight.shape[axis] for axis in input_axes])
    moved = weight.astype("float64").transpose(*input_axes, *output_axes)
    return moved.reshape(int(rows), -1)


def obstacle(layer: keras.Layer) -> str:
    """Tells why a layer of a known kind must stay whole.

    Args:
        layer: a built one.

    Returns:
        A sentence without its point; empty when nothing stands against it.
    """
    kind = kind_of(layer)
    if getattr(layer, "quantization_mode", None):
        return f"quantized to {layer.quantization_mode}"
    if getattr(layer, "lora_enabled", False):
        return "has LoRA, whose update is beside the matrix"
    if getattr(layer, kind.constraint):
        return "has a constraint, which holds for the matrix, not its factors"
    if kind.axes(layer) is None:
        return f"{layer.equation} is no product with a single matrix"
    if kind.obstacle(layer):
        return kind.obstacle(layer)
    if not most_rank(*shape_of(layer)):
        return "too small: no rank saves parameters"
    return ""


def shape_of(layer: keras.Layer) -> tuple[int, int] | None:
    """Tells how large the matrix of a layer is.

    Args:
        layer: a built one of a known kind.

    Returns:
        `(rows, columns)`; None when its weight is no matrix.
    """
    kind = kind_of(layer)
    axes = kind.axes(layer)
    if axes is None:
        return None
    shape = getattr(layer, kind.weight).shape
    return tuple(int(np.prod([shape[axis] for axis in x])) for x in axes)


def fill(
    layer: keras.Layer, first: keras.Layer, second: keras.Layer, rank: int
) -> None:
    """Gives two thin layers the weights that are nearest to a layer's.

    Args:
        layer: a built one of a known kind.
        first: built; gets the factor that meets the input.
        second: built; gets the other one, and the bias.
        rank: of both.
    """
    weight = getattr(layer, kind_of(layer).weight)
    for thin, factor in zip(
        (first, second), factors(matrix_of(layer), rank), strict=True
    ):
        target = getattr(thin, kind_of(thin).weight)
        target.assign(factor.reshape(target.shape))
        target.trainable = weight.trainable
    bias = getattr(layer, "bias", None)
    if bias is not None:
        second.bias.assign(bias)
        second.bias.trainable = bias.trainable


def _common(layer) -> dict:
    return {"trainable": layer.trainable, "dtype": layer.dtype_policy}


def _second_common(layer) -> dict:
    return {
        **_common(layer),
        "name": layer.name,
        "activation": layer.activation,
        "kernel_regularizer": layer.kernel_regularizer,
        "bias_initializer": layer.bias_initializer,
        "bias_regularizer": layer.bias_regularizer,
        "bias_constraint": layer.bias_constraint,
        "activity_regularizer": layer.activity_regularizer,
    }


def _thin_dense(layer, rank, first_name):
    first = keras.layers.Dense(
        rank,
        use_bias=False,
        kernel_regularizer=layer.kernel_regularizer,
        name=first_name,
        **_common(layer),
    )
    second = keras.layers.Dense(
        layer.units, use_bias=layer.use_bias, **_second_common(layer)
    )
    return first, second


def _thin_einsum(layer, rank, first_name):
    split = split_equation(layer.equation)
    labels = split.second.partition("->")[2].replace(".", "")
    sizes = layer.partial_output_shape
    # The sizes belong to the last labels; Keras leaves out the batch.
    known = dict(zip(labels[-len(sizes) :], sizes))
    middle = split.first.partition("->")[2].replace(".", "")
    known[split.rank_label] = rank
    first = keras.layers.EinsumDense(
        split.first,
        output_shape=[known[x] for x in middle if x in known],
        kernel_regularizer=layer.kernel_regularizer,
        name=first_name,
        **_common(layer),
    )
    second = keras.layers.EinsumDense(
        split.second,
        output_shape=sizes,
        bias_axes=layer.bias_axes,
        **_second_common(layer),
    )
    return first, second


def _thin_embedding(layer, rank, first_name):
    first = keras.layers.Embedding(
        layer.input_dim,
        rank,
        embeddings_regularizer=layer.embeddings_regularizer,
        mask_zero=layer.mask_zero,
        name=first_name,
        **_common(layer),
    )
    second = keras.layers.Dense(
        layer.output_dim,
        use_bias=False,
        kernel_regularizer=layer.embeddings_regularizer,
        activity_regularizer=layer.activity_regularizer,
        name=layer.name,
        **_common(layer),
    )
    return first, second


def _einsum_axes(layer):
    split = split_equation(layer.equation)
    return split and (split.input_axes, split.output_axes)


def _reversible_obstacle(layer) -> str:
    if not layer.tie_weights:
        return "projects back with a second matrix"
    if layer.mask_zero:
        return "masks zeros by a way of its own"
    return ""


_REVERSIBLE = Kind(
    "_embeddings",
    lambda layer, rank, first_name: FactorizedEmbedding.of(layer, rank),
    obstacle=_reversible_obstacle,
    constraint="embeddings_constraint",
)
# By package and name: keras_hub need not be loaded.
_KINDS = {
    "keras.Dense": Kind("_kernel", _thin_dense),
    "keras.EinsumDense": Kind("_kernel", _thin_einsum, axes=_einsum_axes),
    "keras.Embedding": Kind(
        "_embeddings", _thin_embedding, constraint="embeddings_constraint"
    ),
    "keras.ReversibleEmbedding": _REVERSIBLE,
    "keras_hub.ReversibleEmbedding": _REVERSIBLE,
}


def is_reversible(layer) -> bool:
    """Tells embeddings that also project back, as BERT's of tokens.

    Args:
        layer: any layer.
    """
    return kind_of(layer) is _REVERSIBLE
