"""A small trained model of each family, and what it was trained on."""

import keras
import numpy as np

import kbig

ROWS = 128


def _trained(model, x, y, epochs=12):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss, jit_compile=False)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return model, x, y


def _images(block):
    generator = np.random.default_rng(0)
    y = generator.integers(0, 4, ROWS)
    x = generator.normal(size=(ROWS, 8, 8, 3)).astype("float32")
    x[np.arange(ROWS), 2 * (y // 2), 2 * (y % 2)] += 6
    model = kbig.models.cnn((8, 8, 3), 4, filters=(8, 16), block=block)
    return _trained(model, x, y)


def _rows():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, 6)).astype("float32")
    return _trained(kbig.models.mlp((6,), 3, (16, 16)), x, x[:, :3].argmax(1))


def _series(**options):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, 8, 3)).astype("float32")
    model = kbig.models.rnn((8, 3), 3, units=(12,), **options)
    return _trained(model, x, x.sum(1).argmax(1))


def _tokens(rows=ROWS):
    generator = np.random.default_rng(0)
    ids = generator.integers(1, 20, (rows, 8)).astype("int32")
    ids[: rows // 2, 5:] = 0
    counts = [((ids > low) & (ids < low + 7)).sum(1) for low in (0, 6, 12)]
    return ids, np.argmax(counts, axis=0)


def _token_series():
    ids, y = _tokens()
    model = kbig.models.rnn(vocabulary_size=20, num_outputs=3, units=(12,))
    return _trained(model, ids, y)


def _transformer():
    ids, y = _tokens()
    model = kbig.models.transformer(
        3, vocabulary_size=20, hidden_dim=16, dropout=0.0
    )
    return _trained(model, ids, y)


def _pre_norm():
    import keras_hub

    x = keras.Input((8, 3), name="features")
    y = keras.layers.Dense(16)(x)
    for index in range(2):
        y = keras_hub.layers.TransformerEncoder(
            32, 2, normalize_first=True, name=f"encoder_{index}"
        )(y)
    y = keras.layers.GlobalAveragePooling1D()(y)
    model = keras.Model(x, keras.layers.Dense(3)(y))
    features = np.random.default_rng(0).normal(size=(ROWS, 8, 3))
    features = features.astype("float32")
    return _trained(model, features, features.sum(1).argmax(1))


def _bert(**options):
    ids, y = _tokens()
    backbone = kbig.models.bert(
        {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "dropout": 0.0}, 20
    )
    model = kbig.models.bert_classifier(backbone, 3, dropout=0.0, **options)
    x = {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": (ids > 0).astype("int32"),
    }
    return _trained(model, x, y)


FAMILIES = {
    "mlp": _rows,
    "plain": lambda: _images("plain"),
    "residual": lambda: _images("residual"),
    "depthwise": lambda: _images("depthwise"),
    "lstm": lambda: _series(cell="lstm"),
    "gru": lambda: _series(cell="gru"),
    "simple": lambda: _series(cell="simple"),
    "bidirectional": lambda: _series(cell="lstm", bidirectional=True),
    "masked": _token_series,
    "transformer": _transformer,
    "pre_norm": _pre_norm,
    "bert": _bert,
    "bert_mean": lambda: _bert(pooling="mean"),
}
