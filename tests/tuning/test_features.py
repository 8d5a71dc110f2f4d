import keras
import numpy as np

from kbig import models
from kbig import tuning
from tests.contracts import check_usage_error
from tests.tuning.tiny import SIZE
from tests.tuning.tiny import VOCABULARY
from tests.tuning.tiny import classifier
from tests.tuning.tiny import compiled
from tests.tuning.tiny import rows


def test_a_head_trained_on_features_is_the_model_s():
    inputs, labels = rows()
    model = classifier(pooling="mean")
    before = model(inputs)
    encoder, head = tuning.head_on_features(model)
    halves = [
        ({k: v[part] for k, v in inputs.items()}, labels[part])
        for part in (slice(0, 5), slice(5, 8))
    ]
    x, y = tuning.features(encoder, halves)
    assert (x.shape, x.dtype) == ((8, 16), "float32")
    np.testing.assert_array_equal(y, labels)
    compiled(head, run_eagerly=True)
    head.fit(x, y, batch_size=8, epochs=3, verbose=0)
    assert np.abs(model(inputs) - before).max() > 1e-3
    np.testing.assert_allclose(model(inputs), head(x), rtol=1e-5, atol=1e-6)
    # A second time, though the layers are in two models by now.
    _, again = tuning.head_on_features(model)
    np.testing.assert_array_equal(again(x), head(x))


def test_what_scales_the_values_of_a_regression_is_in_the_head():
    inputs, _ = rows()
    for pooling in ("cls", "mean"):
        logits = classifier(num_classes=1, pooling=pooling)
        values = keras.layers.Rescaling(3.0, 2.0)(logits.output)
        model = keras.Model(logits.input, values)
        encoder, head = tuning.head_on_features(model)
        assert encoder.output.shape == (None, 16)
        x = encoder(inputs)
        np.testing.assert_allclose(head(x), model(inputs), rtol=1e-5)
        np.testing.assert_allclose(head(x), 3 * logits(inputs) + 2, rtol=1e-5)


def test_weights_of_rows_come_along():
    inputs, labels = rows()
    encoder, _ = tuning.head_on_features(classifier())
    weights = np.arange(8.0)
    _, y, kept = tuning.features(encoder, iter([(inputs, labels, weights)]))
    np.testing.assert_array_equal(kept, weights)


def test_what_has_no_features():
    backbone = models.bert(SIZE, VOCABULARY)
    tagger = models.bert_token_classifier(backbone, 3)
    check_usage_error(lambda: tuning.head_on_features(tagger), "vector")
    masked_lm = models.bert_masked_lm(backbone)
    check_usage_error(lambda: tuning.head_on_features(masked_lm), "vector")
    encoder, _ = tuning.head_on_features(classifier())
    check_usage_error(lambda: tuning.features(encoder, []), "no batches")
