"""The Transformer encoder over tokens or feature sequences."""

import keras
from keras import ops

from kbig.errors import UsageError
from kbig.models.arguments import check_choice
from kbig.models.arguments import check_positive
from kbig.models.arguments import check_rate
from kbig.models.arguments import check_tokens_or_features


def transformer(
    num_classes: int,
    vocabulary_size: int | None = None,
    input_shape: tuple[int | None, int] | None = None,
    num_layers: int = 2,
    hidden_dim: int = 128,
    num_heads: int = 2,
    intermediate_dim: int | None = None,
    position: str = "learned",
    max_length: int = 512,
    dropout: float = 0.1,
) -> keras.Model:
    """Builds a Transformer encoder that classifies sequences.

    The encoded steps are averaged and projected to the logits. Tokens with
    id 0 are padding: they are neither attended to nor averaged.

    Args:
        num_classes: number of logits.
        vocabulary_size: number of token ids, padding included. Leave it out
            for feature sequences.
        input_shape: `(steps, channels)` of feature sequences; steps may be
            None. Leave it out for tokens.
        num_layers: number of encoder layers.
        hidden_dim: size of each step's vector.
        num_heads: attention heads; must divide `hidden_dim`.
        intermediate_dim: width of the feed-forward layers. None is four
            times `hidden_dim`.
        position: "learned" vectors, or "sinusoidal" ones as in the paper.
        max_length: longest sequence that learned positions cover. Sinusoidal
            positions have no limit.
        dropout: fraction to drop in training, inside and after the encoder.

    Returns:
        A `keras.Model` from int32 ids `(batch, steps)` or features
        `(batch, steps, channels)` to float32 logits `(batch, num_classes)`.

    Raises:
        UsageError: when an argument is out of its range, or when both or
            neither of `input_shape` and `vocabulary_size` are given.

    Example:
    ```python
    model = transformer(num_classes=8, vocabulary_size=1000)
    logits = model(np.array([[5, 7, 0]]))  # (1, 8); the third is padding
    ```

    Reference:
     - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
    """
    check_tokens_or_features(vocabulary_size, input_shape)
    check_positive("num_classes", num_classes)
    check_positive("num_layers", num_layers)
    check_positive("max_length", max_length)
    check_heads(hidden_dim, num_heads)
    check_choice("position", position, _POSITIONS)
    check_rate("dropout", dropout)
    if intermediate_dim is None:
        intermediate_dim = 4 * hidden_dim
    check_positive("intermediate_dim", intermediate_dim)
    if position == "learned" and input_shape is not None:
        _check_length(input_shape[0], max_length)

    if vocabulary_size is not None:
        inputs, x, mask = _embedded_tokens(vocabulary_size, hidden_dim)
        if position == "sinusoidal":
            # Section 3.4 of the paper: or the waves drown the embeddings.
            x = keras.layers.Rescaling(hidden_dim**0.5, name="rescaling")(x)
    else:
        inputs, x, mask = _projected_features(input_shape, hidden_dim)
    positions = _POSITIONS[position](max_length)(x)
    x = keras.layers.Add(name="add_positions")([x, positions])
    x = keras.layers.Dropout(dropout, name="embedding_dropout")(x)
    x = _encoded(x, mask, num_layers, num_heads, intermediate_dim, dropout)
    x = masked_mean(x, mask)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="transformer")


def masked_mean(x, mask=None):
    """Averages the steps of each sequence that the mask keeps.

    Args:
        x: `(batch, steps, channels)`, any float dtype.
        mask: bool `(batch, steps)`, or None to keep every step.

    Returns:
        float32 `(batch, channels)`; zeros where the mask keeps no step.

    Example:
    ```python
    masked_mean(np.ones((1, 3, 2)), np.array([[True, True, False]]))
    ```
    """
    x = ops.cast(x, "float32")  # A long sum overflows float16.
    if mask is None:
        return ops.mean(x, axis=1)
    weights = ops.expand_dims(ops.cast(mask, "float32"), axis=-1)
    count = ops.maximum(ops.sum(weights, axis=1), 1.0)
    return ops.sum(x * weights, axis=1) / count


def check_heads(hidden_dim: int, num_heads: int) -> None:
    """Raises unless both are positive and the heads divide the width.

    Args:
        hidden_dim: size of each step's vector.
        num_heads: number of attention heads.

    Raises:
        UsageError: when they are not, or do not.
    """
    check_positive("hidden_dim", hidden_dim)
    check_positive("num_heads", num_heads)
    if hidden_dim % num_heads:
        raise UsageError(
            "`hidden_dim` must be a multiple of `num_heads`. "
            f"Received: hidden_dim={hidden_dim}, num_heads={num_heads}. "
            f"Pass hidden_dim={num_heads * (hidden_dim // num_heads + 1)} or "
            "other heads."
        )


def _check_length(steps: int | None, max_length: int) -> None:
    if steps is not None and steps > max_length:
        raise UsageError(
            "`input_shape` has more steps than learned positions cover. "
            f"Received: steps={steps}, max_length={max_length}. Raise "
            '`max_length` or pass position="sinusoidal".'
        )


def _embedded_tokens(vocabulary_size: int, hidden_dim: int):
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    embedding = keras.layers.Embedding(
        vocabulary_size, hidden_dim, name="embedding"
    )
    return token_ids, embedding(token_ids), ops.not_equal(token_ids, 0)


def _projected_features(input_shape: tuple, hidden_dim: int):
    features = keras.Input(input_shape, name="features")
    projection = keras.layers.Dense(hidden_dim, name="projection")
    return features, projection(features), None


def _encoded(x, mask, num_layers, num_heads, intermediate_dim, dropout):
    import keras_hub

    for index in range(num_layers):
        x = keras_hub.layers.TransformerEncoder(
            intermediate_dim,
            num_heads,
            dropout=dropout,
            name=f"encoder_{index}",
        )(x, padding_mask=mask)
    return x


def _learned_positions(max_length: int) -> keras.Layer:
    import keras_hub

    return keras_hub.layers.PositionEmbedding(max_length, name="positions")


def _sinusoidal_positions(max_length: int) -> keras.Layer:
    import keras_hub

    # In bfloat16, 257 and every other odd position beyond it do not exist.
    return keras_hub.layers.SinePositionEncoding(
        dtype="float32", name="positions"
    )


_POSITIONS = {
    "learned": _learned_positions,
    "sinusoidal": _sinusoidal_positions,
}
