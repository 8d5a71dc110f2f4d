"""Which tokens of each row are hidden: any, whole words, or spans of words.

Each function takes `eligible` and `starts`, bool `(batch, length)`: whether a
token may be hidden, and whether it begins a word; `budget`, int32 `(batch,)`,
the tokens to hide; `width`, no less than any budget; and a seed. It returns
int32 `(batch, width)` tensors: positions in rising order, padded with 0;
weights, 1 for a position and 0 for padding; and groups, the number of what is
replaced alike.
"""

import math

import tensorflow as tf

_SPAN_STOPS, _LONGEST_SPAN = 0.2, 10
# Each round fills what words too long for it have left of the budget.
_ROUNDS = 4


def any_tokens(eligible, starts, budget, width, seed):
    """Chooses tokens one by one."""
    del starts
    score = tf.random.stateless_uniform(tf.shape(eligible), seed)
    ranked = tf.math.top_k(tf.where(eligible, score, -1.0), width).indices
    taken = tf.range(width) < budget[:, tf.newaxis]
    length = tf.shape(eligible)[1]
    positions, weights = _padded(tf.where(taken, ranked, length), length)
    return positions, weights, _columns(positions)


def whole_words(eligible, starts, budget, width, seed):
    """Chooses words in random order, passing over those that do not fit.

    Reference:
        - [Devlin et al., 2018](https://github.com/google-research/bert),
          whole word masking
    """
    word, sizes = _words(eligible, starts)
    score = tf.random.stateless_uniform(tf.shape(sizes), seed)
    order = tf.argsort(tf.where(sizes > 0, score, 2.0), stable=True)
    ordered = tf.gather(sizes, order, batch_dims=1)
    taken = _taken(ordered, budget)
    chosen = _hidden(eligible, word, sizes, order, taken, budget)
    positions, weights = _positions(chosen, width)
    return positions, weights, _columns(positions)


def spans(eligible, starts, budget, width, seed):
    """Chooses spans of words; those that do not fit any more, in part.

    The words of a row, in a circle, are laid out in spans whose lengths are
    geometric, so each word is as likely to be chosen as any other.

    Reference:
        - [Joshi et al., 2020](https://arxiv.org/abs/1907.10529), 3.1
    """
    word, sizes = _words(eligible, starts)
    seeds = tf.random.experimental.stateless_split(seed, num=3)
    count = tf.math.count_nonzero(sizes, axis=1, keepdims=True, dtype=tf.int32)
    place = _columns(sizes)
    turn = tf.random.stateless_uniform(tf.shape(count), seeds[0])
    turn = tf.cast(turn * tf.cast(count, tf.float32), tf.int32)
    turned = (place + turn) % tf.maximum(count, 1)
    word_at = tf.where(place < count, turned, place)
    ends = tf.cumsum(_span_lengths(tf.shape(sizes), seeds[1]), axis=1)
    span_at = tf.searchsorted(ends, place, side="right")
    score = tf.random.stateless_uniform(tf.shape(sizes), seeds[2])
    score = tf.gather(score, span_at, batch_dims=1)
    ranked = tf.argsort(tf.where(place < count, score, 2.0), stable=True)
    order = tf.gather(word_at, ranked, batch_dims=1)
    ordered = tf.gather(sizes, order, batch_dims=1)
    taken = _taken(ordered, budget)
    chosen = _hidden(eligible, word, sizes, order, taken, budget)
    positions, weights = _positions(chosen, width)
    span = tf.gather(span_at, tf.argsort(word_at), batch_dims=1)
    span = tf.gather(span, word, batch_dims=1)
    return positions, weights, tf.gather(span, positions, batch_dims=1)


MASKINGS = {"token": any_tokens, "whole-word": whole_words, "span": spans}


def _span_lengths(shape, seed):
    """Words of each span: geometric, given that it is `_LONGEST_SPAN` or less.

    So the mean is 3.8, as in the paper.
    """
    goes_on = 1 - _SPAN_STOPS
    uniform = tf.random.stateless_uniform(shape, seed)
    survival = 1 - uniform * (1 - goes_on**_LONGEST_SPAN)
    lengths = 1 + tf.floor(tf.math.log(survival) / math.log(goes_on))
    return tf.minimum(tf.cast(lengths, tf.int32), _LONGEST_SPAN)


def _words(eligible, starts):
    """The number of the word at each position, and the tokens of each word."""
    word = tf.maximum(tf.cumsum(tf.cast(starts, tf.int32), axis=1) - 1, 0)
    rows, length = tf.unstack(tf.shape(word))
    first = tf.range(rows)[:, tf.newaxis] * length
    sizes = tf.math.unsorted_segment_sum(
        tf.cast(eligible, tf.int32), word + first, rows * length
    )
    return word, tf.reshape(sizes, [rows, length])


def _taken(sizes, budget):
    """Which words, in their order, are taken: as many as fit the budget."""
    left, taken = budget[:, tf.newaxis], tf.zeros_like(sizes, tf.bool)
    for _ in range(_ROUNDS):
        fits = ~taken & (sizes > 0) & (sizes <= left)
        fits &= tf.cumsum(tf.where(fits, sizes, 0), axis=1) <= left
        taken |= fits
        tokens = tf.where(fits, sizes, 0)
        left -= tf.reduce_sum(tokens, axis=1, keepdims=True)
    return taken


def _hidden(eligible, word, sizes, order, taken, budget):
    """Whether each token is hidden, given the words taken in their order."""
    taken_words = tf.gather(taken, tf.argsort(order), batch_dims=1)
    chosen = tf.gather(taken_words, word, batch_dims=1)
    # Where not even the first word fits, its beginning has to do.
    before = tf.cumsum(sizes, axis=1, exclusive=True)
    within = tf.cumsum(tf.cast(eligible, tf.int32), axis=1, exclusive=True)
    within -= tf.gather(before, word, batch_dims=1)
    beginning = (word == order[:, :1]) & (within < budget[:, tf.newaxis])
    nothing = ~tf.reduce_any(taken, axis=1, keepdims=True)
    return eligible & (chosen | (nothing & beginning))


def _positions(chosen, width):
    length = tf.shape(chosen)[1]
    places = tf.where(chosen, _columns(chosen), length)
    return _padded(tf.sort(places, axis=1)[:, :width], length)


def _padded(places, length):
    """Sorts positions; `length` stands for none."""
    places = tf.sort(places, axis=1)
    weights = tf.cast(places < length, tf.int32)
    return places * weights, weights


def _columns(values):
    return tf.zeros_like(values, tf.int32) + tf.range(tf.shape(values)[1])
