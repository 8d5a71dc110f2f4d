"""How long does training stand still between two epochs?

python benchmarks/epoch_ends.py

From the end of an epoch's last step to the begin of the next one's first, with
batches of kbig and with the same ones as tf.data tunes them unless it is told
not to; in turns, for rows of texts and of images. What a
step takes stands beside it. The models are small: what is measured is all that
is not a step, Keras's own work between epochs included.
"""

import argparse
import statistics
import time

import keras
import tensorflow as tf

import kbig

SIDES = ("kbig", "autotuned")
ROWS = 4000


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for name, (model, batches) in cases().items():
        model.compile("sgd", loss="sparse_categorical_crossentropy")
        found = {side: [] for side in SIDES}
        steps = []
        for number in range(options.rounds * len(SIDES)):
            side = SIDES[number % 2]
            clock = Clock()
            model.fit(
                batches if side == "kbig" else autotuned(batches),
                epochs=options.epochs,
                callbacks=[clock],
                verbose=0,
                shuffle=False,
            )
            found[side] += clock.pauses
            steps += clock.steps
        rows += [
            (
                f"{name}, {side}",
                kbig.reporting.Seconds(statistics.median(pauses)),
                kbig.reporting.Seconds(max(pauses)),
                kbig.reporting.Seconds(statistics.median(steps)),
            )
            for side, pauses in found.items()
        ]
    columns = ("batches", "pause, median", "longest", "a step")
    kbig.reporting.show(kbig.reporting.Table("Epoch ends", columns, rows))


def cases() -> dict:
    texts, labels = kbig.data.load("wordnet-topics").arrays("train")
    texts, labels = texts[:ROWS], labels[:ROWS]
    words = kbig.data.tokenizer(kbig.data.train_vocabulary(texts, 2000))
    images = kbig.data.load("fashion-mnist-small")
    return {
        "texts": (
            reader(),
            kbig.data.bucketed_batches(
                texts, labels, 32, words, 64, shuffle=True
            ),
        ),
        "images": (
            kbig.models.mlp((28, 28, 1), 10),
            kbig.data.batches(images.train, 64, shuffle=True),
        ),
    }


def reader() -> keras.Model:
    """The mean of the tokens' vectors, and what class that is."""
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    others = [
        keras.Input((None,), dtype="int32", name=name)
        for name in ("segment_ids", "padding_mask")
    ]
    x = keras.layers.Embedding(2000, 32)(ids)
    x = keras.layers.GlobalAveragePooling1D()(x)
    outputs = keras.layers.Dense(50, "softmax")(x)
    inputs = {x.name: x for x in (ids, *others)}
    return keras.Model(inputs, outputs)


def autotuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.autotune.enabled = True
    return batches.with_options(options)


class Clock(keras.callbacks.Callback):
    """Seconds of steps, and of what lies between two epochs."""

    def __init__(self):
        super().__init__()
        self.pauses, self.steps, self._ended = [], [], None

    def on_train_batch_begin(self, batch, logs=None):
        self._begun = time.perf_counter()
        if batch == 0 and self._ended is not None:
            self.pauses.append(self._begun - self._ended)

    def on_train_batch_end(self, batch, logs=None):
        self._ended = time.perf_counter()
        self.steps.append(self._ended - self._begun)


if __name__ == "__main__":
    main()
