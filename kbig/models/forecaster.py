"""A recurrent forecaster that takes and gives the values themselves."""

import keras
from keras import ops

from kbig.models.arguments import check_positive
from kbig.models.rnn import rnn


def forecaster(
    input_shape: tuple[int, int],
    horizon: int,
    cell: str = "lstm",
    units: tuple[int, ...] = (64,),
    bidirectional: bool = False,
    scale: float = 1.0,
    dropout: float = 0.0,
) -> keras.Model:
    """Builds a model that forecasts changes from the newest value.

    Values are seen, and forecast, relative to the newest one and in units of
    `scale`. A linear layer beside the recurrent network carries what is
    linear. What the model takes and gives are the values themselves, so that
    an exported file needs no code around it.

    Args:
        input_shape: `(steps, channels)` of a window; channel 0 is forecast.
        horizon: steps to forecast.
        cell: "lstm", "gru" or "simple".
        units: state size of each recurrent layer.
        bidirectional: read each window in both directions.
        scale: size of a typical change, in the values' unit.
        dropout: fraction of the final state to drop in training.

    Returns:
        A `keras.Model` from float32 `(batch, steps, channels)` to float32
        `(batch, horizon)`.

    Raises:
        UsageError: when an argument is out of its range.

    Example:
    ```python
    model = forecaster((84, 1), horizon=48, cell="gru", scale=0.5)
    ```

    Reference:
     - [Lai et al., 2018](https://arxiv.org/abs/1703.07015), the linear
       component beside the recurrent one
    """
    check_positive("horizon", horizon)
    core = rnn(
        input_shape,
        horizon,
        cell=cell,
        units=units,
        bidirectional=bidirectional,
        dropout=dropout,
    )
    window = keras.Input(input_shape, name="window")
    newest = window[:, -1:, :]
    relative = keras.layers.Rescaling(1 / scale, name="scale")(window - newest)
    linear = keras.layers.Dense(
        horizon, kernel_initializer="zeros", dtype="float32", name="linear"
    )
    change = ops.add(
        core(relative), linear(keras.layers.Flatten(name="flat")(relative))
    )
    change = keras.layers.Rescaling(scale, dtype="float32", name="unscale")(
        change
    )
    forecast = ops.add(change, newest[:, 0, :1])
    forecast = keras.layers.Identity(dtype="float32", name="forecast")(forecast)
    return keras.Model(window, forecast, name="forecaster")
