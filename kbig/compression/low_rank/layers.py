"""Layers that hold two thin ones in the place of a single one."""

import keras
from keras import ops


class ThinPair(keras.layers.Layer):
    """Two layers, one after the other, where one is expected.

    It lives in the layers of others, which build it and know its rank; it is
    not saved by itself. The layers in it are Keras's own, so that whatever
    handles those handles them here.

    Args:
        first: unbuilt, without bias.
        second: unbuilt.
        **kwargs: as of `keras.layers.Layer`.
    """

    def __init__(self, first: keras.Layer, second: keras.Layer, **kwargs):
        super().__init__(name=second.name, dtype=second.dtype_policy, **kwargs)
        self.first = first
        self.second = second
        self.supports_masking = True

    def build(self, input_shape):
        """Builds both layers."""
        self.first.build(input_shape)
        self.second.build(self.first.compute_output_shape(input_shape))

    def call(self, inputs):
        """Calls one after the other."""
        return self.second(self.first(inputs))

    def compute_output_shape(self, input_shape):
        """Returns that of the layer in whose place this stands."""
        middle = self.first.compute_output_shape(input_shape)
        return self.second.compute_output_shape(middle)

    def folded(self) -> dict:
        """Returns the weights of the layer in whose place this stands."""
        kernel = ops.tensordot(self.first.kernel, self.second.kernel, axes=1)
        return {"kernel": kernel, "bias": self.second.bias}


@keras.saving.register_keras_serializable("kbig")
class FactorizedEmbedding(keras.layers.Layer):
    """A tied ReversibleEmbedding whose matrix is the product of two.

    Both directions go through both factors, so that it stands for the token
    embedding of a BERT, also where the masked language model's head shares
    it, at `rank * (input_dim + output_dim)` parameters.

    A saved file that holds one loads after `import kbig.compression`; `import
    kbig` alone does not make it known to Keras.

    Args:
        input_dim: number of token ids.
        output_dim: size of a token's vector.
        rank: between the two.
        embeddings_regularizer: of each factor.
        reverse_dtype: as of `keras.layers.ReversibleEmbedding`.
        logit_soft_cap: as of `keras.layers.ReversibleEmbedding`.
        **kwargs: as of `keras.layers.Layer`.

    Example:
    ```python
    embedding = FactorizedEmbedding(input_dim=1000, output_dim=64, rank=8)
    states = embedding(np.array([[5, 7, 0]]))  # (1, 3, 64)
    logits = embedding(states, reverse=True)  # (1, 3, 1000)
    ```

    Reference:
     - [Lan et al., 2019](https://arxiv.org/abs/1909.11942), section 3.1
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        rank: int,
        embeddings_regularizer=None,
        reverse_dtype=None,
        logit_soft_cap: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.rank = rank
        self.embeddings_regularizer = keras.regularizers.get(
            embeddings_regularizer
        )
        self.reverse_dtype = reverse_dtype
        self.logit_soft_cap = logit_soft_cap
        # As Keras's embeddings: the way back is computed in full precision.
        self.autocast = False
        self.first = keras.layers.Embedding(
            input_dim,
            rank,
            embeddings_regularizer=self.embeddings_regularizer,
            dtype=self.dtype_policy,
            name="first",
        )
        self.second = keras.layers.Dense(
            output_dim,
            use_bias=False,
            kernel_regularizer=self.embeddings_regularizer,
            dtype=self.dtype_policy,
            name="second",
        )

    @classmethod
    def of(cls, layer: keras.Layer, rank: int) -> "FactorizedEmbedding":
        """Makes an unbuilt one with the options of another embedding.

        Args:
            layer: a tied `keras.layers.ReversibleEmbedding`.
            rank: of the factors.
        """
        return cls(
            layer.input_dim,
            layer.output_dim,
            rank,
            embeddings_regularizer=layer.embeddings_regularizer,
            reverse_dtype=layer.reverse_dtype,
            logit_soft_cap=layer.logit_soft_cap,
            activity_regularizer=layer.activity_regularizer,
            trainable=layer.trainable,
            dtype=layer.dtype_policy,
            name=layer.name,
        )

    def build(self, input_shape=None):
        """Builds both factors, whatever the shape."""
        self.first.build()
        self.second.build((None, self.rank))

    def call(self, inputs, reverse=False):
        """Embeds ids, or projects vectors to logits of the ids."""
        if not reverse:
            return self.second(self.first(inputs))
        logits = inputs
        for factor in (self.second.kernel, self.first.embeddings):
            if self.reverse_dtype is not None:
                logits = ops.cast(logits, self.reverse_dtype)
                factor = ops.cast(factor, self.reverse_dtype)
            logits = ops.matmul(logits, ops.transpose(factor))
        cap = self.logit_soft_cap
        return logits if cap is None else ops.tanh(logits / cap) * cap

    def compute_output_spec(self, inputs, reverse=False):
        """Returns vectors for ids, or logits for vectors."""
        shape = inputs.shape
        if reverse:
            shape = (*shape[:-1], self.input_dim)
        else:
            shape = (*shape, self.output_dim)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def folded(self) -> dict:
        """Returns the weights of the layer in whose place this stands."""
        embeddings = ops.matmul(self.first.embeddings, self.second.kernel)
        return {"embeddings": embeddings}

    def get_config(self):
        """Returns the options."""
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "rank": self.rank,
            "embeddings_regularizer": keras.regularizers.serialize(
                self.embeddings_regularizer
            ),
            "reverse_dtype": self.reverse_dtype,
            "logit_soft_cap": self.logit_soft_cap,
        }
