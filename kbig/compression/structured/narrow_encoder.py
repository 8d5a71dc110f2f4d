"""A transformer block that has lost some of its attention heads."""

from collections.abc import Mapping

import keras
import keras_hub


@keras.saving.register_keras_serializable("kbig")
class NarrowEncoder(keras_hub.layers.TransformerEncoder):
    """A TransformerEncoder whose heads need not fill the width.

    KerasHub's has heads of `hidden_dim // num_heads`, so that it cannot lose
    one. Here their size is given. All else, weights and their names too, is
    as there.

    A saved file that holds one loads after `import kbig.compression`; `import
    kbig` alone does not make it known to Keras.

    Args:
        head_dim: size of the query, key and value of each head.
        **kwargs: as of `keras_hub.layers.TransformerEncoder`.

    Example:
    ```python
    encoder = NarrowEncoder(head_dim=64, intermediate_dim=512, num_heads=3)
    encoder(np.zeros((1, 8, 384)))
    ```

    Reference:
     - [Michel et al., 2019](https://arxiv.org/abs/1905.10650)
    """

    def __init__(self, head_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.head_dim = head_dim

    def build(self, inputs_shape):
        """Builds the sublayers, by KerasHub's names and in its order."""
        width = inputs_shape[-1]
        self._self_attention_layer = keras.layers.MultiHeadAttention(
            num_heads=self.num_heads,
            key_dim=self.head_dim,
            dropout=self.dropout,
            dtype=self.dtype_policy,
            name="self_attention_layer",
            **self._initializers(),
        )
        self._self_attention_layer.build(inputs_shape, inputs_shape)
        self._self_attention_layer_norm = self._norm("self_attention")
        self._self_attention_dropout = self._dropout("self_attention")
        self._feedforward_layer_norm = self._norm("feedforward")
        self._feedforward_intermediate_dense = self._dense(
            self.intermediate_dim, "intermediate", activation=self.activation
        )
        self._feedforward_output_dense = self._dense(width, "output")
        self._feedforward_dropout = self._dropout("feedforward")
        inner = (*inputs_shape[:-1], self.intermediate_dim)
        self._self_attention_layer_norm.build(inputs_shape)
        self._feedforward_layer_norm.build(inputs_shape)
        self._feedforward_intermediate_dense.build(inputs_shape)
        self._feedforward_output_dense.build(inner)
        self.built = True

    def get_config(self):
        """Returns the options, the size of the heads included."""
        return {**super().get_config(), "head_dim": self.head_dim}

    def _initializers(self):
        # A copy for each: an initializer draws the same numbers again.
        return {
            name: initializer.__class__.from_config(initializer.get_config())
            for name, initializer in (
                ("kernel_initializer", self.kernel_initializer),
                ("bias_initializer", self.bias_initializer),
            )
        }

    def _dense(self, units, name, activation=None):
        return keras.layers.Dense(
            units,
            activation=activation,
            dtype=self.dtype_policy,
            name=f"feedforward_{name}_dense",
            **self._initializers(),
        )

    def _norm(self, name):
        return keras.layers.LayerNormalization(
            epsilon=self.layer_norm_epsilon,
            dtype=self.dtype_policy,
            name=f"{name}_layer_norm",
        )

    def _dropout(self, name):
        return keras.layers.Dropout(
            self.dropout, dtype=self.dtype_policy, name=f"{name}_dropout"
        )


def narrowed(config: dict, layer, sizes: Mapping[tuple, int]) -> dict:
    """Lets the configuration of a transformer block hold fewer heads.

    Args:
        config: what Keras makes of a layer.
        layer: it.
        sizes: what will be set in there.

    Returns:
        `config` as it is, unless it is a TransformerEncoder that loses heads.
    """
    if not loses_heads(layer, sizes):
        return config
    head_dim = layer._self_attention_layer._key_dim
    return {
        **config,
        "module": NarrowEncoder.__module__,
        "class_name": NarrowEncoder.__name__,
        "registered_name": keras.saving.get_registered_name(NarrowEncoder),
        "config": {**config["config"], "head_dim": head_dim},
    }


def loses_heads(layer, sizes: Mapping[tuple, int]) -> bool:
    """Tells blocks that become a NarrowEncoder.

    Args:
        layer: any layer.
        sizes: what will be set in its configuration.
    """
    is_stock = type(layer) is keras_hub.layers.TransformerEncoder
    heads = sizes.get(("num_heads",))
    return is_stock and heads not in (None, layer.num_heads)
