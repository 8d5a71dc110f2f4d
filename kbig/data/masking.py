"""Masked language modelling: hides tokens for a model to predict."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.data.mask_choice import MASKINGS
from kbig.errors import UsageError

_MASKED, _RANDOM = 0.8, 0.1  # The rest keeps its token.


def mask_tokens(
    token_ids,
    *,
    seed,
    vocabulary_size: int,
    mask_id: int,
    special_ids: Sequence[int],
    rate: float = 0.15,
    max_predictions: int,
    masking: str = "token",
    continues: Sequence[bool] | None = None,
) -> dict[str, tf.Tensor]:
    """Hides tokens at random for a model to predict.

    Of each row `rate` of the tokens that are not special are chosen, at
    least one and `max_predictions` at most. Of the chosen ones 80 % become
    `mask_id`, 10 % a random token that is not special, and 10 % stay.

    With `"whole-word"` words are chosen in random order until no more fit,
    each with all of its pieces; only where every word is longer than the
    tokens to choose is one cut. With `"span"` spans of words are chosen,
    1 to 10 long (3.8 on average), and of those that do not fit any more the
    words that do; all tokens of a span are replaced alike: by `mask_id`, by
    random ones, or not at all. A span that meets a special token goes on
    behind it.

    Args:
        token_ids: int tensor of shape `(batch, length)`.
        seed: int tensor of shape `(2,)`; the result depends on it alone.
        vocabulary_size: number of token ids.
        mask_id: id of `[MASK]`.
        special_ids: ids that are neither hidden nor drawn, padding among
            them.
        rate: fraction of the tokens to choose.
        max_predictions: width of the three `mask_` outputs.
        masking: `"token"`, `"whole-word"` or `"span"`.
        continues: of every id, whether it is a piece that continues a word,
            as `kbig.data.continuing_pieces` tells; `"token"` needs none.

    Returns:
        `token_ids`, int32, as the input but for the hidden tokens; and, of
        shape `(batch, max_predictions)`, int32 `mask_positions` in rising
        order, int32 `mask_labels` (the original ids) and float32
        `mask_weights`: 1 for a chosen token, 0 for padding, whose position
        and label are 0.

    Raises:
        UsageError: if `rate` is not in (0, 1], `max_predictions` not in
            [1, length], every id is special, `masking` is unknown, or
            `continues` is missing or not one value an id.

    Example:
    ```python
    masked = mask_tokens(
        [[2, 8, 9, 3, 0]], seed=(0, 1), vocabulary_size=10, mask_id=4,
        special_ids=(0, 1, 2, 3, 4), max_predictions=2,
    )
    ```

    Reference:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805), 3.1
        - [Joshi et al., 2020](https://arxiv.org/abs/1907.10529), 3.1
    """
    token_ids = tf.cast(tf.convert_to_tensor(token_ids), tf.int32)
    ordinary = np.setdiff1d(np.arange(vocabulary_size), special_ids)
    _check(rate, max_predictions, token_ids.shape[1], ordinary)
    _check_words(masking, continues, vocabulary_size)
    seeds = tf.random.experimental.stateless_split(seed, num=3)
    eligible = _eligible(token_ids, special_ids)
    positions, weights, groups = MASKINGS[masking](
        eligible,
        _word_starts(token_ids, eligible, continues),
        _budget(eligible, rate, max_predictions),
        max_predictions,
        seeds[0],
    )
    labels = tf.gather(token_ids, positions, batch_dims=1) * weights
    shown = _replaced(labels, groups, token_ids, mask_id, ordinary, seeds[1:])
    # Adding a difference, not writing a value: padding shares position 0.
    corrupted = tf.tensor_scatter_nd_add(
        token_ids,
        tf.stack([_row_numbers(positions), positions], axis=-1),
        (shown - labels) * weights,
    )
    return {
        "token_ids": tf.ensure_shape(corrupted, token_ids.shape),
        "mask_positions": positions,
        "mask_labels": labels,
        "mask_weights": tf.cast(weights, tf.float32),
    }


def _check(rate, max_predictions, length, ordinary):
    if not 0 < rate <= 1:
        raise UsageError(f"`rate` must be in (0, 1]. Received: rate={rate}")
    if max_predictions < 1 or (length and max_predictions > length):
        raise UsageError(
            f"`max_predictions` must be from 1 to the {length} tokens of a "
            f"row. Received: max_predictions={max_predictions}"
        )
    if not len(ordinary):
        raise UsageError(
            "`special_ids` must leave ids to draw from. Received: every id "
            "of the vocabulary"
        )


def _check_words(masking, continues, vocabulary_size):
    if masking not in MASKINGS:
        raise UsageError(
            f"`masking` must be one of {', '.join(MASKINGS)}. Received: "
            f"masking={masking!r}"
        )
    known = 0 if continues is None else len(continues)
    if masking != "token" and known != vocabulary_size:
        raise UsageError(
            f"`masking={masking!r}` needs `continues`, one truth value for "
            f"each of the {vocabulary_size} ids. Received: {known}. Pass "
            "kbig.data.continuing_pieces(vocabulary)."
        )


def _eligible(token_ids, special_ids):
    special = tf.constant(list(special_ids), tf.int32)
    return tf.reduce_all(token_ids[..., tf.newaxis] != special, axis=-1)


def _word_starts(token_ids, eligible, continues):
    """Which tokens begin a word: all that do not continue another one."""
    if continues is None:
        return eligible
    goes_on = tf.gather(tf.constant(continues, tf.bool), token_ids)
    follows = tf.pad(eligible[:, :-1], [[0, 0], [1, 0]])
    return eligible & ~(goes_on & follows)


def _budget(eligible, rate, max_predictions):
    available = tf.reduce_sum(tf.cast(eligible, tf.float32), axis=1)
    budget = tf.maximum(tf.round(available * rate), 1.0)
    budget = tf.minimum(tf.minimum(budget, available), max_predictions)
    return tf.cast(budget, tf.int32)


def _replaced(labels, groups, token_ids, mask_id, ordinary, seeds):
    """What is shown in place of the labels; a group shares one draw."""
    draw = tf.random.stateless_uniform(tf.shape(token_ids), seeds[0])
    draw = tf.gather(draw, groups, batch_dims=1)
    index = tf.random.stateless_uniform(
        tf.shape(labels), seeds[1], 0, len(ordinary), tf.int32
    )
    random = tf.gather(tf.constant(ordinary, tf.int32), index)
    shown = tf.where(draw < _MASKED + _RANDOM, random, labels)
    return tf.where(draw < _MASKED, mask_id, shown)


def _row_numbers(positions):
    rows = tf.range(tf.shape(positions)[0])[:, tf.newaxis]
    return tf.broadcast_to(rows, tf.shape(positions))
