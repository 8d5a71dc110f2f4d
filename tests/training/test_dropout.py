import keras
import numpy as np
import pytest

import kbig
from kbig.training import dropout_at

SIZE = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "dropout": 0.3}
IDS = np.arange(5, 13).reshape(1, 8)
INPUTS = {
    "token_ids": IDS,
    "segment_ids": np.zeros_like(IDS),
    "padding_mask": np.ones_like(IDS),
}


def rates(model):
    return [
        layer.rate
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Dropout)
    ]


def test_nothing_is_dropped_inside_and_as_before_outside():
    backbone = kbig.models.bert(SIZE, 20)
    plain = np.array(backbone(INPUTS)["sequence_output"])
    before = rates(backbone)
    assert len(before) > 3  # of attention, too
    with dropout_at(backbone, 0.0):
        inside = backbone(INPUTS, training=True)["sequence_output"]
        np.testing.assert_allclose(inside, plain, rtol=1e-5, atol=1e-6)
    assert rates(backbone) == before
    outside = backbone(INPUTS, training=True)["sequence_output"]
    assert not np.allclose(outside, plain, atol=0.1)


def test_layers_without_dropout_stay_so():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dropout(0.0),
            keras.layers.Dropout(0.5),
        ]
    )
    with dropout_at(model, 0.2):
        assert rates(model) == [0.0, 0.2]
    assert rates(model) == [0.0, 0.5]


def test_rates_come_back_after_an_error():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5)])
    with pytest.raises(KeyError), dropout_at(model, 0.0):
        raise KeyError
    assert rates(model) == [0.5]
