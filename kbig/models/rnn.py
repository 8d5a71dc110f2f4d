"""Recurrent networks over tokens or feature sequences."""

import keras

from kbig.models.arguments import check_choice
from kbig.models.arguments import check_each_positive
from kbig.models.arguments import check_positive
from kbig.models.arguments import check_rate
from kbig.models.arguments import check_tokens_or_features

_CELLS = {
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "simple": keras.layers.SimpleRNN,
}


def rnn(
    input_shape: tuple[int | None, int] | None = None,
    num_outputs: int = 1,
    cell: str = "lstm",
    units: tuple[int, ...] = (64,),
    bidirectional: bool = False,
    vocabulary_size: int | None = None,
    embedding_dim: int = 64,
    dropout: float = 0.0,
) -> keras.Model:
    """Builds a recurrent classifier or regressor.

    The last layer's final state is projected to the outputs. Tokens with id
    0 are padding: no step is taken for them.

    Args:
        input_shape: `(steps, channels)` of feature sequences; steps may be
            None. Leave it out for tokens.
        num_outputs: number of logits, or of values to regress.
        cell: "lstm", "gru" or "simple".
        units: state size of each recurrent layer.
        bidirectional: read each sequence in both directions and join the two
            states.
        vocabulary_size: number of token ids, padding included. Leave it out
            for feature sequences.
        embedding_dim: size of a token's vector; unused for features.
        dropout: fraction of the final state to drop in training.

    Returns:
        A `keras.Model` from int32 ids `(batch, steps)` or features
        `(batch, steps, channels)` to float32 `(batch, num_outputs)`.

    Raises:
        UsageError: when an argument is out of its range, or when both or
            neither of `input_shape` and `vocabulary_size` are given.

    Example:
    ```python
    model = rnn(vocabulary_size=1000, num_outputs=8, cell="gru")
    logits = model(np.array([[5, 7, 0]]))  # (1, 8); the third is padding
    ```

    Reference:
     - [Hochreiter and Schmidhuber, 1997](
       https://doi.org/10.1162/neco.1997.9.8.1735), LSTM
     - [Cho et al., 2014](https://arxiv.org/abs/1406.1078), GRU
    """
    check_tokens_or_features(vocabulary_size, input_shape)
    check_positive("num_outputs", num_outputs)
    check_choice("cell", cell, _CELLS)
    check_each_positive("units", units)
    check_positive("embedding_dim", embedding_dim)
    check_rate("dropout", dropout)

    if vocabulary_size is not None:
        inputs = keras.Input((None,), dtype="int32", name="token_ids")
        x = keras.layers.Embedding(
            vocabulary_size, embedding_dim, mask_zero=True, name="embedding"
        )(inputs)
    else:
        inputs = x = keras.Input(input_shape, name="features")
    for index, size in enumerate(units):
        is_last = index == len(units) - 1
        name = f"{cell}_{index}"
        layer = _CELLS[cell](size, return_sequences=not is_last, name=name)
        if bidirectional:
            layer = keras.layers.Bidirectional(layer, name=name)
        x = layer(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    outputs = keras.layers.Dense(num_outputs, dtype="float32", name="outputs")
    return keras.Model(inputs, outputs(x), name="rnn")
