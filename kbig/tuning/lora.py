"""Low-rank adaptation: a small product of two matrices beside each kernel."""

from collections.abc import Sequence

import keras
import keras_hub
import numpy as np
from keras import ops

from kbig.tuning.structure import make_trainable
from kbig.tuning.structure import retyped
from kbig.tuning.structure import weight_names
from kbig.tuning.structure import with_encoders

# The layer of an encoder that projects, and how many axes of its kernel meet
# the input: the attention's output sums over heads and over their width.
PROJECTIONS = {
    "query": (lambda encoder: encoder._self_attention_layer.query_dense, 1),
    "key": (lambda encoder: encoder._self_attention_layer.key_dense, 1),
    "value": (lambda encoder: encoder._self_attention_layer.value_dense, 1),
    "output": (lambda encoder: encoder._self_attention_layer.output_dense, 2),
    "intermediate": (
        lambda encoder: encoder._feedforward_intermediate_dense,
        1,
    ),
    "feedforward_output": (
        lambda encoder: encoder._feedforward_output_dense,
        1,
    ),
}


class _LowRank:
    """What a Dense layer becomes: `x W + scale (x A) B + bias`."""

    # So that `kbig.training.fused` may take `x kernel + bias` for it.
    computes_by_kernel = True

    def add_low_rank(self, rank, scale, input_axes):
        shape = self._kernel.shape
        # The bound of the paper's own code, for any number of input axes.
        bound = 1 / np.sqrt(np.prod(shape[:input_axes]))
        self._tracker.unlock()
        self.lora_a = self.add_weight(
            name="lora_a",
            shape=(*shape[:input_axes], rank),
            initializer=keras.initializers.RandomUniform(-bound, bound),
            dtype="float32",
        )
        self.lora_b = self.add_weight(
            name="lora_b",
            shape=(rank, *shape[input_axes:]),
            initializer="zeros",
            dtype="float32",
        )
        self._tracker.lock()
        self.lora_scale = scale
        self.input_axes = input_axes

    def call(self, inputs, training=None):
        low = ops.tensordot(inputs, self.lora_a, axes=self.input_axes)
        x = ops.tensordot(low, self.lora_b, axes=1) * self.lora_scale
        x = ops.add(x, self.projected(inputs))
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return x if self.activation is None else self.activation(x)

    @property
    def kernel(self):
        """With the update, as what asks for the kernel expects."""
        update = ops.tensordot(self.lora_a, self.lora_b, axes=1)
        return ops.add(self._kernel, self.lora_scale * update)

    def save_own_variables(self, store):
        # Keras's own way would save the kernel with the update.
        for variable in self._own_variables():
            store[variable.name] = variable

    def load_own_variables(self, store):
        for variable in self._own_variables():
            variable.assign(store[variable.name])

    def _own_variables(self):
        own = (self._kernel, self.bias, self.lora_a, self.lora_b)
        return [variable for variable in own if variable is not None]


class _LowRankDense(_LowRank, keras.layers.Dense):
    def projected(self, inputs):
        return ops.matmul(inputs, self._kernel)


class _LowRankEinsumDense(_LowRank, keras.layers.EinsumDense):
    def projected(self, inputs):
        return ops.einsum(self.equation, inputs, self._kernel)


_LOW_RANK = {
    keras.layers.Dense: _LowRankDense,
    keras.layers.EinsumDense: _LowRankEinsumDense,
}


@keras.saving.register_keras_serializable("kbig")
class LoraEncoder(keras_hub.layers.TransformerEncoder):
    """A TransformerEncoder whose projections have low-rank updates.

    `W` becomes `W + alpha / rank * A B`; only `A` and `B` are trainable. `B`
    starts at zero, so the layer starts as the one it was made from. Keras's
    own `enable_lora` is not used: on the kernels of attention, (hidden_dim,
    heads, head_dim), it makes an `A` for each head and one `B` for all, half
    as many times the parameters as there are heads, and its files hold
    neither.

    A saved file that holds one loads after `import kbig.tuning`; `import
    kbig` alone does not make it known to Keras.

    Args:
        lora_rank: columns of `A` and rows of `B`.
        lora_alpha: `alpha`.
        lora_projections: among `PROJECTIONS`.
        **kwargs: as of `keras_hub.layers.TransformerEncoder`.

    Example:
    ```python
    encoder = LoraEncoder(8, 8, ["query"], intermediate_dim=64, num_heads=2)
    ```

    Reference:
     - [Hu et al., 2021](https://arxiv.org/abs/2106.09685)
    """

    def __init__(
        self,
        lora_rank: int,
        lora_alpha: float,
        lora_projections: Sequence[str],
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.lora_projections = tuple(lora_projections)

    def build(self, inputs_shape):
        """Builds the plain encoder, then extends its projections."""
        super().build(inputs_shape)
        for weight in self.trainable_weights:
            weight.trainable = False
        for name in self.lora_projections:
            layer_of, input_axes = PROJECTIONS[name]
            layer = layer_of(self)
            # The layer belongs to Keras, which offers no other way in.
            layer.__class__ = _LOW_RANK[type(layer)]
            scale = self.lora_alpha / self.lora_rank
            layer.add_low_rank(self.lora_rank, scale, input_axes)

    def get_config(self):
        """Returns the options, those of the updates included."""
        return {
            **super().get_config(),
            "lora_rank": self.lora_rank,
            "lora_alpha": self.lora_alpha,
            "lora_projections": list(self.lora_projections),
        }


def merged(model: keras.Model) -> keras.Model:
    """Folds low-rank updates into the kernels they stand beside.

    Args:
        model: from `prepare(..., "lora")`, or any other.

    Returns:
        A new plain model that computes the same, all of it trainable and not
        compiled; a model without such updates as it is.

    Example:
    ```python
    tuned = prepare(classifier, "lora").model
    merged(tuned).save("model.keras")
    ```
    """
    if not any(isinstance(x, LoraEncoder) for x in model.layers):
        return model
    copy = with_encoders(model, _plain_config)
    make_trainable(copy)
    kernels, tuned = weight_names(copy), weight_names(model)
    scales = {
        layer.name: layer.lora_alpha / layer.lora_rank
        for layer in model.layers
        if isinstance(layer, LoraEncoder)
    }
    for name in tuned:
        path, _, last = name.rpartition("/")
        if last != "lora_a":
            continue
        a, b = tuned[name], tuned[f"{path}/lora_b"]
        update = np.tensordot(a.numpy(), b.numpy(), axes=1)
        kernels[f"{path}/kernel"].assign_add(
            scales[name.partition("/")[0]] * update
        )
    return copy


def with_lora(
    model: keras.Model, rank: int, alpha: float, projections: Sequence[str]
) -> keras.Model:
    """Puts low-rank updates into every encoder of a flat model.

    Args:
        model: stays as it is.
        rank: of the updates.
        alpha: over `rank`, their factor.
        projections: among `PROJECTIONS`.

    Returns:
        A new model, not compiled, that computes the same.
    """
    own = {
        "lora_rank": rank,
        "lora_alpha": alpha,
        "lora_projections": list(projections),
    }
    return with_encoders(
        model, lambda x: retyped(x, LoraEncoder, x["config"] | own)
    )


def _plain_config(config: dict) -> dict:
    options = {
        key: value
        for key, value in config["config"].items()
        if not key.startswith("lora_")
    }
    return retyped(config, keras_hub.layers.TransformerEncoder, options)
