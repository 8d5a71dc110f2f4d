"""Masks that Keras hangs on tensors, where a tensor is replaced."""

from keras.src.backend.common.masking import get_keras_mask
from keras.src.backend.common.masking import set_keras_mask


def with_mask_of(x, y):
    """Hands on the mask of a tensor to what is put in its place."""
    mask = get_keras_mask(x)
    if mask is not None and y is not x:
        set_keras_mask(y, mask)
    return y
