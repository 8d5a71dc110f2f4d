"""Tokenizes much text at once: the ids of `tokenize`, several times faster.

tensorflow-text's FastBertTokenizer does in one pass what KerasHub's tokenizer
does in many, but it folds more characters than BERT does. So it gets the texts
of characters that both treat alike, and `tokenize` the others.
"""

from collections.abc import Iterable
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from kbig.data.encoding import tokenize

_TOGETHER = 2**20  # Bytes of text that are tokenized at once.
_ASCII = r"\t\n\r -~"
# Found by comparing every character of Unicode: no compatibility characters,
# which FastBertTokenizer folds, and nothing that Hugging Face drops.
_MORE = (
    r"\x{a0}-\x{a7}\x{a9}\x{ab}\x{ac}\x{c0}-\x{de}\x{e0}-\x{131}"
    r"\x{134}-\x{13e}\x{141}-\x{148}\x{14a}-\x{17e}\x{400}-\x{45f}"
    r"\x{2012}-\x{2016}\x{2018}-\x{2022}\x{20ac}\x{3001}-\x{3011}"
    r"\x{3041}-\x{3096}\x{30a1}-\x{30fa}\x{3400}-\x{4dbf}"
    r"\x{4e00}-\x{9fff}\x{ac00}-\x{d7a3}"
)


class FastTokens:
    """Splits texts into ids of pieces, exactly as `tokenize` does.

    Args:
        tokenizer: what `kbig.data.tokenizer` returned.

    Example:
    ```python
    fast_tokens = FastTokens(bert_tokenizer)
    ids = fast_tokens(["how are you?", ""])  # int32, (2, (pieces))
    ```
    """

    def __init__(self, tokenizer):
        import tensorflow_text

        self._tokenizer = tokenizer
        own = getattr(tokenizer, "lowers_case", False)
        lowers_case = own or tokenizer.lowercase
        fast = tensorflow_text.FastBertTokenizer(
            vocab=tokenizer.get_vocabulary(),
            token_out_type=tf.int32,
            lower_case_nfd_strip_accents=lowers_case,
            unknown_token="[UNK]",
        )
        # It strips accents where it lowers the case, and only there.
        same = lowers_case == tokenizer.strip_accents
        self._alike = f"[{_ASCII}{_MORE if same else ''}]*"
        self._fast = tf.function(
            fast.tokenize, input_signature=[tf.TensorSpec([None], tf.string)]
        )

    def __call__(self, texts) -> tf.RaggedTensor:
        """Tokenizes texts.

        Args:
            texts: string tensor of shape `(n,)`.

        Returns:
            int32 ragged tensor of shape `(n, (pieces))`.
        """
        texts = tf.convert_to_tensor(texts, tf.string)
        alike = tf.strings.regex_full_match(texts, self._alike).numpy()
        if alike.all():
            return self._fast(texts)
        order = np.concatenate([np.flatnonzero(alike), np.flatnonzero(~alike)])
        tokens = tf.concat(
            [
                self._fast(texts[alike]),
                tokenize(texts[~alike], self._tokenizer),
            ],
            axis=0,
        )
        return tf.gather(tokens, np.argsort(order))

    def of_documents(
        self, documents: Iterable[bytes]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Tokenizes documents, about a MiB of text at once.

        Args:
            documents: texts in UTF-8, paragraphs joined by newlines.

        Returns:
            An iterator: of each document the number of tokens of every
            paragraph that has any, int64, and all ids, int32.
        """
        for part in _parts(documents):
            groups = [document.split(b"\n") for document in part]
            tokens = self([text for group in groups for text in group])
            ids, splits = tokens.flat_values.numpy(), tokens.row_splits.numpy()
            ends = np.cumsum([len(group) for group in groups])
            for begin, end in zip([0, *ends], ends):
                lengths = np.diff(splits[begin : end + 1])
                yield lengths[lengths > 0], ids[splits[begin] : splits[end]]


def tokenize_documents(
    documents: Iterable[str], tokenizer
) -> Iterator[list[np.ndarray]]:
    """Tokenizes documents paragraph by paragraph, as a stream.

    What `Shards.documents` reads, without files in between.

    Args:
        documents: texts, their paragraphs joined by newlines.
        tokenizer: what `kbig.data.tokenizer` returned.

    Returns:
        An iterator: of each document the ids of its paragraphs, int32 arrays
        without special tokens; paragraphs without tokens are left out.

    Example:
    ```python
    documents = list(tokenize_documents(["One.\\nTwo."], bert_tokenizer))
    rows = sentence_pairs(documents, 128, cls_id=2, sep_id=3, pad_id=0)
    ```
    """
    texts = (document.encode() for document in documents)
    for lengths, ids in FastTokens(tokenizer).of_documents(texts):
        yield np.split(ids, np.cumsum(lengths)[:-1]) if len(lengths) else []


def _parts(documents):
    part, size = [], 0
    for document in documents:
        part.append(document)
        size += len(document)
        if size >= _TOGETHER:
            yield part
            part, size = [], 0
    if part:
        yield part
