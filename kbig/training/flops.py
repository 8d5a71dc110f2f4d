"""Floating point operations: what BERT needs, what the machine does."""

import statistics
import time
from collections.abc import Callable

import tensorflow as tf

from kbig.models.arguments import check_choice
from kbig.models.arguments import check_positive

_DTYPES = ("float32", "bfloat16", "float16")
# A multiplication and an addition, forward and twice backward.
_FLOPS_PER_WEIGHT = 6
# A call and a wait for its result cost a GPU some tenths of a millisecond.
_CALL_SECONDS = 0.02
_LONGEST = 1024


def bert_training_flops(
    num_layers: int,
    hidden_dim: int,
    sequence_length: int,
    vocabulary_size: int = 0,
    num_predictions: float = 0,
    intermediate_dim: int | None = None,
) -> float:
    """Counts the operations of matrix products to train BERT on one token.

    Forward and backward; recomputation, lookups and elementwise operations
    do not count.

    Args:
        num_layers: of the encoder.
        hidden_dim: width of the encoder.
        sequence_length: tokens that attend to each other. The average, each
            text weighted with its length, where rows are packed.
        vocabulary_size: of the masked language model's head; 0 without.
        num_predictions: tokens of a sequence that the head predicts.
        intermediate_dim: width within the feedforward block; None is four
            times `hidden_dim`.

    Returns:
        Floating point operations a token.

    Raises:
        UsageError: when the layers, width or length are not positive.

    Example:
    ```python
    bert_training_flops(6, 384, 128, 30522, 20)  # 78.4e6
    ```

    Reference:
     - [Chowdhery et al., 2022](https://arxiv.org/abs/2204.02311), appendix B
    """
    check_positive("num_layers", num_layers)
    check_positive("hidden_dim", hidden_dim)
    check_positive("sequence_length", sequence_length)
    intermediate_dim = intermediate_dim or 4 * hidden_dim
    projections = 4 * hidden_dim**2 + 2 * hidden_dim * intermediate_dim
    # Scores and weighted sums: each token with every other.
    attention = 2 * sequence_length * hidden_dim
    head = hidden_dim**2 + hidden_dim * vocabulary_size
    weights = num_layers * (projections + attention)
    weights += head * num_predictions / sequence_length
    return float(_FLOPS_PER_WEIGHT * weights)


def matmul_peak(
    dtype: str = "float32", size: int = 2048, seconds: float = 1.0
) -> float:
    """Measures how fast this machine multiplies matrices in TensorFlow.

    A call computes as many products, each of the one before, as it takes to
    make its own cost and that of reading the result negligible.

    Args:
        dtype: "float32", "bfloat16" or "float16".
        size: rows and columns of both factors.
        seconds: to measure for; the search for the number is left out.

    Returns:
        The median over the calls, in GFLOP/s.

    Raises:
        UsageError: when the dtype is unknown or the size not positive.

    Example:
    ```python
    peak = matmul_peak("bfloat16")
    Throughput(64, "tokens", flops_per_unit=78.4e6, peak_gflops=peak)
    ```
    """
    check_choice("dtype", dtype, _DTYPES)
    check_positive("size", size)
    length, products = 1, _products(dtype, size, 1)
    while _seconds(products) < _CALL_SECONDS and length < _LONGEST:
        length *= 4
        products = _products(dtype, size, length)
    durations = []
    while sum(durations) < seconds:
        durations.append(_seconds(products))
    return 2e-9 * size**3 * length / statistics.median(durations)


def _products(dtype: str, size: int, length: int) -> Callable[[], float]:
    """Multiplies so many times in one call; called once, to compile it."""
    left, right = (
        tf.cast(tf.random.stateless_normal((size, size), (0, seed)), dtype)
        for seed in (0, 1)
    )
    # So scaled, the products neither grow nor vanish.
    right /= tf.cast(size**0.5, dtype)

    @tf.function
    def last_element(left, right):
        # A loop of TensorFlow's would cost as much as a GPU's product.
        for _ in range(length):
            left = tf.matmul(left, right)
        # All is computed, and little copied: on a GPU reading it waits.
        return left[-1, -1]

    # TensorFlow warns of functions that it traces again and again.
    compiled = last_element.get_concrete_function(left, right)

    def call():
        return float(compiled(left, right))

    call()
    return call


def _seconds(call: Callable[[], float]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
