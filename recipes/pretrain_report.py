"""What `kbig pretrain-mlm` shows: curves, and what the model fills in."""

import itertools
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np

import kbig
from recipes.pretrain_data import Words
from recipes.pretrain_model import Fitted

_EXAMPLES, _EXAMPLE_TOKENS = 6, 8


def curves(fitted: Fitted):
    """A section: loss and accuracy of every part of the training."""
    return kbig.sections.training(
        fitted.history,
        fitted.curves,
        "Pretraining",
        f"{fitted.steps:,} steps, in parts that differ by one step at most; "
        "dashed: held-out documents.",
    )


def fill_ins(
    model, words: Words, documents: Iterable[Sequence[np.ndarray]], config
):
    """A section: a hidden token of some held-out texts, and what is said."""
    paragraphs = itertools.chain.from_iterable(documents)
    long = (ids for ids in paragraphs if len(ids) >= _EXAMPLE_TOKENS)
    chosen = list(itertools.islice(long, 0, 20 * _EXAMPLES, 20))
    if not chosen:
        none = f"No text of {_EXAMPLE_TOKENS} tokens."
        return kbig.reporting.Section("Fill-ins", [], none)
    inputs = _framed(chosen, words, config.sequence_length)
    # Half way through what is there of each text.
    hidden = inputs["padding_mask"].sum(1, keepdims=True) // 2
    answers = np.take_along_axis(inputs["token_ids"], hidden, 1)[:, 0]
    np.put_along_axis(
        inputs["token_ids"], hidden, words.vocabulary.index("[MASK]"), 1
    )
    inputs["mask_positions"] = hidden.astype("int32")
    outputs = model.predict(inputs, verbose=0)
    if isinstance(outputs, dict):
        outputs = outputs["masked_lm"]
    rows = [
        (_shown(ids, words.vocabulary), words.vocabulary[answer], _best(*said))
        for ids, answer, *said in zip(
            inputs["token_ids"],
            answers,
            outputs[:, 0],
            itertools.repeat(words.vocabulary),
        )
    ]
    table = kbig.reporting.Table("", ("text", "hidden", "said"), rows)
    return kbig.reporting.Section(
        "Fill-ins", [table], "Held-out texts with one token hidden."
    )


def _framed(paragraphs, words: Words, length: int) -> dict[str, np.ndarray]:
    """Inputs of a model; of what is too long the first row."""
    rows = [
        kbig.data.pack_documents([[ids]], length, **words.frame())[0]
        for ids in paragraphs
    ]
    token_ids = np.stack(rows)
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": (token_ids != words.pad_id).astype(np.int32),
    }


def _shown(ids, vocabulary) -> str:
    pieces = [vocabulary[i] for i in ids]
    kept = [p for p in pieces if p not in ("[CLS]", "[SEP]", "[PAD]")]
    return " ".join(kept).replace(" ##", "")


def _best(logits, vocabulary) -> str:
    shares = kbig.evaluation.probabilities(logits[np.newaxis])[0]
    best = np.argsort(-shares)[:3]
    return ", ".join(f"{vocabulary[i]} {shares[i]:.0%}" for i in best)
