"""What can be pruned: one table of layer types, and each kernel as a matrix."""

import dataclasses
import math
from collections.abc import Callable

import keras
import numpy as np

from kbig.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A weight as a matrix of inputs and outputs.

    Args:
        layer: path of its layer, as "transformer_layer_0/query".
        name: path of the weight.
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
        The kernels, each once, and by layer why others are left alone.

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
    for layer in model._flatten_layers():
        for kernel in _kernels(layer, embeddings, f"{model.name}/"):
            if id(kernel.variable) in seen:
                continue
            seen.add(id(kernel.variable))
            reason = _obstacle(layer, kernel.variable)
            if reason:
                left_alone[kernel.layer] = reason
            else:
                kernels.append(kernel)
    return kernels, left_alone


def _kernels(layer, embeddings: bool, prefix: str) -> list[Kernel]:
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
            # Only a Sequential is part of its weights' paths.
            name = variable.path.removeprefix(prefix)
            path = name.rpartition("/")[0] or layer.name
            run = variable.shape[order[inputs - 1]] if inputs else 1
            found.append(Kernel(path, name, variable, order, inputs, run))
    return found


def _obstacle(layer, variable) -> str:
    if getattr(layer, "lora_enabled", False):
        return "has LoRA; merge it into the kernel first"
    if getattr(layer, "quantization_mode", None):
        return "holds quantized weights"
    return "" if variable.trainable else "is not trained"
