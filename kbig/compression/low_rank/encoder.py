"""KerasHub's encoder with thin layers inside: its own class, as it must be."""

import contextlib
from collections.abc import Mapping

import keras
import keras_hub

from kbig.compression.low_rank.kinds import kind_of
from kbig.compression.low_rank.layers import ThinPair


@keras.saving.register_keras_serializable("kbig")
class FactorizedEncoder(keras_hub.layers.TransformerEncoder):
    """A TransformerEncoder some of whose projections are two thin layers.

    A saved file that holds one loads after `import kbig.compression` and
    `kbig.compression.FactorizedEncoder`, which loads KerasHub; `import kbig`
    alone does not make it known to Keras.

    Args:
        ranks: ranks by names in `PROJECTIONS`; what is not named is whole.
        **kwargs: as of `keras_hub.layers.TransformerEncoder`.

    Example:
    ```python
    encoder = FactorizedEncoder(
        {"feedforward_output_dense": 8}, intermediate_dim=64, num_heads=2
    )
    ```
    """

    def __init__(self, ranks: Mapping[str, int], **kwargs):
        super().__init__(**kwargs)
        self.ranks = dict(ranks)

    def build(self, inputs_shape):
        """Builds the plain encoder, then puts thin layers into it."""
        super().build(inputs_shape)
        for name, rank in self.ranks.items():
            _make_thin(self, name, rank)

    def get_config(self):
        """Returns the options, the ranks included."""
        return {**super().get_config(), "ranks": dict(self.ranks)}


def projection(encoder: keras.Layer, name: str) -> keras.Layer:
    """Gets a projection out of an encoder.

    Args:
        encoder: a built `keras_hub.layers.TransformerEncoder`.
        name: among `PROJECTIONS`.

    Returns:
        A Dense or EinsumDense, or the pair in its place.
    """
    holder, attribute = _place(encoder, name)
    return getattr(holder, attribute)


def _place(encoder, name):
    holder, attribute = PROJECTIONS[name]
    return (getattr(encoder, holder) if holder else encoder), attribute


def _make_thin(encoder, name: str, rank: int) -> None:
    holder, attribute = _place(encoder, name)
    whole = getattr(holder, attribute)
    first, second = kind_of(whole).thin(whole, rank, "first")
    pair = ThinPair(first, second, trainable=whole.trainable)
    is_own = holder is encoder
    scope = contextlib.nullcontext if is_own else keras.name_scope
    with scope(*() if is_own else (holder.name,)):
        pair.build(whole.get_build_config()["input_shape"])
    # The layers belong to Keras, which offers no other way in.
    holder._tracker.unlock()
    holder._tracker.untrack(whole)
    setattr(holder, attribute, pair)
    holder._tracker.lock()


# By the names of the layers: which holds the projection, under what name.
PROJECTIONS = {
    f"self_attention_layer/{name}": ("_self_attention_layer", attribute)
    for name, attribute in (
        ("query", "_query_dense"),
        ("key", "_key_dense"),
        ("value", "_value_dense"),
        ("attention_output", "_output_dense"),
    )
} | {
    f"feedforward_{name}_dense": ("", f"_feedforward_{name}_dense")
    for name in ("intermediate", "output")
}
