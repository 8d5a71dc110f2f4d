"""What can be pruned: one table of layer types, and each kernel as a matrix."""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Iterator

import keras
import numpy as np

from kbig.errors import UsageError
from kbig.models.layers import children


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A weight as a matrix of inputs and outputs.

    Args:
        layer: names of the layers that lead to its own, and that one's, as
            "transformer_layer_0/self_attention_layer/query".
        name: these, and the weight's, as "hidden_0/kernel".
        variable: the weight.
        order: its axes, those of the inputs first.
        inputs: how many of the axes are of the inputs.
        run: size of the last of these, within which neighbours are grouped.
    """

    layer: str
    name: str
    variable: keras.Variable
    order: tuple[int, ...]
    inputs: int
    run: int

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and outputs of the matrix."""
        sizes = [self.variable.shape[axis] for axis in self.order]
        return math.prod(sizes[: self.inputs]), math.prod(sizes[self.inputs :])

    def to_matrix(self, array: np.ndarray) -> np.ndarray:
        """Of an array shaped as the weight: `(inputs, outputs)`."""
        return array.transpose(self.order).reshape(self.shape)

    def from_matrix(self, matrix: np.ndarray) -> np.ndarray:
        """Of `(inputs, outputs)`: an array shaped as the weight."""
        sizes = [self.variable.shape[axis] for axis in self.order]
        return matrix.reshape(sizes).transpose(np.argsort(self.order))


def _dense(rank: int, layer) -> tuple[tuple[int, ...], int]:
    return tuple(range(rank)), rank - 1


def _transposed(rank: int, layer) -> tuple[tuple[int, ...], int]:
    """Of (..., outputs, inputs)."""
    return (*range(rank - 2), rank - 1, rank - 2), rank - 1


def _einsum(rank: int, layer) -> tuple[tuple[int, ...], int]:
    """The inputs are the axes that the equation sums over."""
    terms = layer.equation.replace(" ", "").split("->")
    kernel = terms[0].split(",")[1]
    summed = [a for a, name in enumerate(kernel) if name not in terms[1]]
    others = [a for a in range(rank) if a not in summed]
    return (*summed, *others), len(summed)


# By class: attributes of the weights, and how each is a matrix. Depthwise
# kernels have no inputs to choose among; TFMOT leaves them alone, too.
_KERNELS: dict[type, tuple[tuple[str, ...], Callable]] = {
    keras.layers.Dense: (("kernel",), _dense),
    keras.layers.EinsumDense: (("kernel",), _einsum),
    keras.layers.Conv1D: (("kernel",), _dense),
    keras.layers.Conv2D: (("kernel",), _dense),
    keras.layers.Conv3D: (("kernel",), _dense),
    keras.layers.Conv1DTranspose: (("kernel",), _transposed),
    keras.layers.Conv2DTranspose: (("kernel",), _transposed),
    keras.layers.Conv3DTranspose: (("kernel",), _transposed),
    keras.layers.SeparableConv1D: (("pointwise_kernel",), _dense),
    keras.layers.SeparableConv2D: (("pointwise_kernel",), _dense),
    keras.layers.SimpleRNNCell: (("kernel", "recurrent_kernel"), _dense),
    keras.layers.GRUCell: (("kernel", "recurrent_kernel"), _dense),
    keras.layers.LSTMCell: (("kernel", "recurrent_kernel"), _dense),
}
_TABLES = {keras.layers.Embedding: (("embeddings",), _dense)}


def find(
    model: keras.Model, embeddings: bool = False
) -> tuple[list[Kernel], dict[str, str]]:
    """Finds what can be pruned.

    Args:
        model: built; nested models and layers within layers are searched.
        embeddings: whether embeddings are among it.

    Returns:
        The kernels, each once, and by name why others are left alone.

    Raises:
        UsageError: the model is not built.

    Example:
    ```python
    kernels, left_alone = find(kbig.models.mlp((4,), 2))
    [kernel.name for kernel in kernels]
    # ["hidden_0/kernel", "logits/kernel"]
    ```
    """
    if not model.built:
        raise UsageError(
            "The model must be built before it is pruned. Received: model="
            f"{model.name!r}. Give it an Input, or call it on a batch."
        )
    kernels, left_alone, seen = [], {}, set()
    for path, layer in _layers(model, ""):
        for kernel in _kernels(layer, embeddings, path):
            if id(kernel.variable) in seen:
                continue
            seen.add(id(kernel.variable))
            reason = _obstacle(layer, kernel.variable)
            if reason:
                left_alone[kernel.name] = reason
            else:
                kernels.append(kernel)
    return kernels, left_alone


def _layers(holder, prefix: str) -> Iterator[tuple[str, keras.Layer]]:
    """All layers, by the names of those that lead to them."""
    for child in children(holder):
        yield f"{prefix}{child.name}", child
        yield from _layers(child, f"{prefix}{child.name}/")


def _kernels(layer, embeddings: bool, path: str) -> list[Kernel]:
    table = {**_KERNELS, **(_TABLES if embeddings else {})}
    found = []
    for kind in type(layer).__mro__:
        attributes, axes = table.get(kind, ((), None))
        for attribute in attributes:
            # With LoRA, `kernel` is a sum: the weight is behind it.
            variable = getattr(layer, f"_{attribute}", None)
            if not isinstance(variable, keras.Variable):
                variable = getattr(layer, attribute)
            order, inputs = axes(len(variable.shape), layer)
            name = f"{path}/{variable.name}"
            run = variable.shape[order[inputs - 1]] if inputs else 1
            found.append(Kernel(path, name, variable, order, inputs, run))
    return found


def _obstacle(layer, variable) -> str:
    if getattr(layer, "lora_enabled", False):
        return "has LoRA; merge it into the kernel first"
    if getattr(layer, "quantization_mode", None):
        return "holds quantized weights"
    return "" if variable.trainable else "is not trained"
