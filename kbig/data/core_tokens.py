"""A tokenizer of TensorFlow's own ops, for runtimes that have no others.

It walks the bytes of a whole batch at once: from every byte along a trie of
the pieces to the longest that begins there, then in every word from piece to
piece. So both loops are as long as a piece or a word, and not as the text.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.errors import UsageError

# KerasHub's patterns: what separates words, and what is a word by itself.
_GAPS = r"[\s\p{Cc}\p{Cf}]"
_ALONE = (
    r"[!-/:-@\[-`{-~\p{P}\x{3400}-\x{4dbf}\x{4e00}-\x{9fff}\x{f900}-\x{faff}"
    r"\x{20000}-\x{2a6df}\x{2a700}-\x{2ceaf}\x{2f800}-\x{2fa1f}]"
)
_SPACE = ord(" ")
_MOST_BYTES = 100  # Longer words are unknown to tensorflow-text.
# No character, so in no vocabulary: it takes the place of what is no UTF-8.
_BROKEN = 0xFFFF
_BYTES = 256
# Nodes of the trie: where a walk has ended, and where it begins.
_NOWHERE, _FIRST, _CONTINUING = range(3)
# What `kbig.data.tokenizer` makes has these.
_KNOWN = {
    "lowercase": False,
    "split": True,
    "split_on_cjk": True,
    "suffix_indicator": "##",
    "special_tokens_in_strings": False,
}


class CoreTokens(tf.Module):
    """A tokenizer to use in place of another, without tensorflow-text's ops.

    `kbig.data.encode` and `kbig.data.tokenize` give the same ids with it, in
    two to three times the time, and a SavedModel that has it inside runs in
    any TensorFlow. Where accents are stripped two things differ: marks that
    are no accents (of music, of some scripts) stay in the order in which a
    text has them, where NFD would sort them; and, if the case is kept, bytes
    that are no UTF-8 never become a character once an accent between them
    is gone.

    Args:
        tokenizer: what `kbig.data.tokenizer` returned.

    Raises:
        UsageError: for a tokenizer that folds or splits otherwise.

    Example:
    ```python
    core_tokens = CoreTokens(bert_tokenizer)
    inputs = kbig.data.encode(["how are you?", ""], core_tokens, 16)
    ```
    """

    def __init__(self, tokenizer):
        super().__init__()
        _check(tokenizer)
        self.lowers_case = getattr(tokenizer, "lowers_case", False)
        self.strip_accents = tokenizer.strip_accents
        self.pad_token_id = tokenizer.pad_token_id
        self.cls_token_id = tokenizer.cls_token_id
        self.sep_token_id = tokenizer.sep_token_id
        self._vocabulary = tuple(tokenizer.get_vocabulary())
        self._unknown_id = tokenizer.token_to_id(tokenizer.oov_token)
        edges, ids, sizes = _trie(self._vocabulary)
        # In the graph of no caller, so that all of them share one copy.
        with tf.init_scope(), tf.device("CPU:0"):
            self._edges = _table(edges.keys(), edges.values(), tf.int64, 0)
            self._ids = tf.constant(ids, tf.int32)
            self._sizes = tf.constant(sizes, tf.int64)
            if self.strip_accents:
                self._decomposed = _table(*_decompositions(), tf.string, "")

    def get_vocabulary(self) -> list[str]:
        """Returns the tokens in order of their ids."""
        return list(self._vocabulary)

    def __call__(self, texts) -> tf.RaggedTensor:
        """Splits texts as `encode` prepares them: `tokenize` is for others.

        Args:
            texts: string tensor of shape `(batch,)`.

        Returns:
            int32 ragged tensor of shape `(batch, (pieces))`.
        """
        # Tables of strings are on the CPU, so loops go round there.
        with tf.device("CPU:0"):
            if self.strip_accents:
                texts = self._without_accents(texts)
            texts = tf.strings.regex_replace(texts, _GAPS, " ")
            texts = tf.strings.regex_replace(texts, _ALONE, r" \0 ")
            texts = tf.strings.join([texts, " "])
            text = tf.io.decode_raw(tf.strings.reduce_join(texts), tf.uint8)
            found = self._pieces(tf.cast(text, tf.int64))
            sizes = tf.cast(tf.strings.length(texts), tf.int64)
            rows = (
                tf.RaggedTensor.from_row_lengths(x, sizes, validate=False)
                for x in found
            )
            return tf.ragged.boolean_mask(*rows)

    def _without_accents(self, texts):
        # Those of ASCII only have as many characters as bytes.
        size = tf.strings.length(texts)
        rows = tf.where(size > tf.strings.length(texts, unit="UTF8_CHAR"))

        def changed():
            characters = tf.strings.unicode_split(
                tf.gather_nd(texts, rows), "UTF-8", replacement_char=_BROKEN
            )
            own = characters.flat_values
            new = self._decomposed.lookup(own)
            new = tf.where(tf.equal(new, ""), own, new)
            new = characters.with_flat_values(new)
            new = tf.strings.reduce_join(new, axis=-1)
            new = tf.strings.regex_replace(new, r"\p{Mn}", "")
            return tf.tensor_scatter_nd_update(texts, rows, new)

        return tf.cond(tf.size(rows) > 0, changed, lambda: texts)

    def _pieces(self, text):
        """Of each byte the id of its piece, and whether a piece begins there.

        Words end with a space, the last one too.
        """
        inside = tf.not_equal(text, _SPACE)
        begins = inside & ~tf.roll(inside, 1, 0)
        ends = inside & ~tf.roll(inside, -1, 0)
        first = tf.where(begins)[:, 0]
        too_long = tf.where(ends)[:, 0] - first >= _MOST_BYTES
        node = self._longest(text, inside, begins)
        sizes = tf.gather(self._sizes, node)
        reached = _reached(tf.boolean_mask(first, ~too_long), sizes, inside)
        # One piece that is not there makes the whole word unknown.
        word = tf.cumsum(tf.cast(begins, tf.int64))  # 0 before the first.
        stuck = tf.boolean_mask(word, reached & tf.equal(sizes, 0))
        unknown = _marked(tf.concat([[False], too_long], 0), stuck)
        unknown = tf.gather(unknown, word)
        ids = tf.where(unknown, self._unknown_id, tf.gather(self._ids, node))
        return ids, tf.where(unknown, begins, reached)

    def _longest(self, text, inside, begins):
        """Walks from every byte along the trie, to the node of its end."""
        start = tf.where(inside)[:, 0]
        node = tf.where(tf.gather(begins, start), _FIRST, _CONTINUING)

        def step(at, start, node, reached):
            key = node * _BYTES + tf.gather(text, at)
            node = self._edges.lookup(key)
            alive = tf.where(tf.not_equal(node, _NOWHERE))[:, 0]
            at, start, node = (tf.gather(x, alive) for x in (at, start, node))
            reached = tf.tensor_scatter_nd_update(
                reached, start[:, tf.newaxis], node
            )
            return at + 1, start, node, reached

        node = tf.cast(node, tf.int64)
        return _loop(step, start, start, node, tf.zeros_like(text))[-1]


def _reached(at, sizes, inside):
    """Where pieces begin that follow on those at some bytes, and those."""

    def step(at, reached):
        reached = _marked(reached, at)
        size = tf.gather(sizes, at)
        following = at + size
        goes_on = tf.gather(inside, following) & (size > 0)
        return tf.boolean_mask(following, goes_on), reached

    return _loop(step, at, tf.zeros_like(inside))[-1]


def _loop(step, *tensors):
    """Repeats a step, until its first vector is empty."""
    return tf.while_loop(
        lambda first, *_: tf.size(first) > 0,
        step,
        tensors,
        shape_invariants=(tf.TensorShape([None]),) * len(tensors),
    )


def _marked(marks, places):
    return tf.tensor_scatter_nd_update(
        marks, places[:, tf.newaxis], tf.ones_like(places, tf.bool)
    )


def _trie(vocabulary: Sequence[str]):
    """The pieces, byte by byte.

    Returns:
        `{node * 256 + byte: node}`, and of every node the id and the bytes of
        the longest piece on the way to it, -1 and 0 where there is none.
    """
    edges, parents, ids, sizes = {}, [0] * 3, [-1] * 3, [0] * 3
    for number, token in enumerate(vocabulary):
        follows = token.startswith("##")
        node = _CONTINUING if follows else _FIRST
        piece = token.removeprefix("##").encode()
        for byte in piece:
            key = node * _BYTES + byte
            if key not in edges:
                edges[key] = len(parents)
                parents.append(node)
                ids.append(-1)
                sizes.append(0)
            node = edges[key]
        ids[node], sizes[node] = number, len(piece)
    for node, parent in enumerate(parents):
        if ids[node] < 0:
            ids[node], sizes[node] = ids[parent], sizes[parent]
    return edges, ids, sizes


def _decompositions() -> tuple[np.ndarray, np.ndarray]:
    """The characters that NFD takes apart, and what it makes of them.

    Asked of tensorflow-text, whose Unicode has some that Python's lacks.
    """
    import tensorflow_text

    codes = [*range(0x80, 0xD800), *range(0xE000, 0x110000)]
    characters = np.array([chr(code).encode() for code in codes], object)
    parts = tensorflow_text.normalize_utf8(characters, "NFD").numpy()
    changed = characters != parts
    return characters[changed], parts[changed]


def _table(keys, values, dtype, default):
    initializer = tf.lookup.KeyValueTensorInitializer(
        list(keys), list(values), dtype, dtype
    )
    return tf.lookup.StaticHashTable(initializer, default)


def _check(tokenizer) -> None:
    others = {
        name: getattr(tokenizer, name)
        for name, known in _KNOWN.items()
        if getattr(tokenizer, name) != known
    }
    if others:
        received = ", ".join(f"{k}={v!r}" for k, v in others.items())
        raise UsageError(
            "Core ops do what a tokenizer of `kbig.data.tokenizer` does. "
            f"Received: one with {received}. Make one of its vocabulary."
        )
