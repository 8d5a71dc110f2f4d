"""Adapters: bottlenecks between the frozen layers of an encoder."""

import keras
import keras_hub

from kbig.errors import UsageError
from kbig.models.arguments import check_choice
from kbig.tuning.structure import retyped
from kbig.tuning.structure import with_encoders


class _Bottleneck:
    """Two Dense layers, down and up, that start as nothing."""

    def add_bottleneck(self, width, adapter_dim, activation):
        self._tracker.unlock()
        self.adapter_down = keras.layers.Dense(
            adapter_dim,
            activation=activation,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=self.dtype_policy,
            name="adapter_down",
        )
        self.adapter_up = keras.layers.Dense(
            width,
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="adapter_up",
        )
        self._tracker.lock()
        with keras.name_scope(self.name):
            self.adapter_down.build((None, None, width))
            self.adapter_up.build((None, None, adapter_dim))

    def bottleneck(self, x):
        return self.adapter_up(self.adapter_down(x))


class _AdaptedDropout(_Bottleneck, keras.layers.Dropout):
    """Houlsby's: after a sublayer's output, before its skip connection."""

    def call(self, inputs, training=False):
        x = super().call(inputs, training=training)
        return x + self.bottleneck(x)


class _AdaptedNorm(_Bottleneck, keras.layers.LayerNormalization):
    """Pfeiffer's: between the normalization and a second use of it."""

    def call(self, inputs):
        adapted = self.bottleneck(super().call(inputs))
        return super().call(inputs + adapted)


# Which sublayers of an encoder get a bottleneck, what they become, and the
# activation inside: GELU in Houlsby's code, ReLU in Pfeiffer's.
_PLACEMENTS = {
    "houlsby": (
        ("_self_attention_dropout", "_feedforward_dropout"),
        _AdaptedDropout,
        "gelu",
    ),
    "pfeiffer": (("_feedforward_layer_norm",), _AdaptedNorm, "relu"),
}


@keras.saving.register_keras_serializable("kbig")
class AdaptedEncoder(keras_hub.layers.TransformerEncoder):
    """A TransformerEncoder with adapters, which alone are trainable.

    Each is `x + up(activation(down(x)))`; `up` starts at zero, so the layer
    starts as the one it was made from. "houlsby" puts one after the attention
    and one after the feed-forward layer, each before the skip connection, and
    trains the layer norms too. "pfeiffer" puts one after the feed-forward
    layer's norm and applies the norm again, as AdapterHub does.

    A saved file that holds one loads after `import kbig.tuning`; `import
    kbig` alone does not make it known to Keras.

    Args:
        adapter_dim: width of the bottleneck.
        placement: "houlsby" or "pfeiffer".
        **kwargs: as of `keras_hub.layers.TransformerEncoder`.

    Raises:
        UsageError: the placement is unknown, or the encoder normalizes
            first, for which neither paper defines a place.

    Example:
    ```python
    encoder = AdaptedEncoder(16, "pfeiffer", intermediate_dim=64, num_heads=2)
    ```

    Reference:
     - [Houlsby et al., 2019](https://arxiv.org/abs/1902.00751)
     - [Pfeiffer et al., 2020](https://arxiv.org/abs/2005.00247)
    """

    def __init__(self, adapter_dim: int, placement: str, **kwargs):
        super().__init__(**kwargs)
        check_choice("placement", placement, _PLACEMENTS)
        if self.normalize_first:
            raise UsageError(
                "Adapters need an encoder that normalizes after each "
                "sublayer, as BERT's do. Received: normalize_first=True. Use "
                "LoRA on it."
            )
        self.adapter_dim = adapter_dim
        self.placement = placement

    def build(self, inputs_shape):
        """Builds the plain encoder, then extends its sublayers."""
        super().build(inputs_shape)
        for weight in self.trainable_weights:
            is_norm = weight.name in ("gamma", "beta")
            weight.trainable = is_norm and self.placement == "houlsby"
        names, adapted_class, activation = _PLACEMENTS[self.placement]
        for name in names:
            layer = getattr(self, name)
            # The layer belongs to KerasHub, which offers no other way in.
            layer.__class__ = adapted_class
            layer.add_bottleneck(inputs_shape[-1], self.adapter_dim, activation)

    def get_config(self):
        """Returns the options, those of the adapters included."""
        return {
            **super().get_config(),
            "adapter_dim": self.adapter_dim,
            "placement": self.placement,
        }


def with_adapters(
    model: keras.Model, adapter_dim: int, placement: str
) -> keras.Model:
    """Puts adapters into every encoder of a flat model.

    Args:
        model: stays as it is.
        adapter_dim: width of the bottlenecks.
        placement: "houlsby" or "pfeiffer".

    Returns:
        A new model, not compiled, that computes the same.
    """
    own = {"adapter_dim": adapter_dim, "placement": placement}
    return with_encoders(
        model, lambda x: retyped(x, AdaptedEncoder, x["config"] | own)
    )
