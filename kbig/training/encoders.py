"""BERT's encoder as few loops and matrix products, for training on a CPU."""

import contextlib
import functools
import sys
from collections.abc import Iterator

import keras
import tensorflow as tf
from keras.src.backend.common.variables import AutocastScope

from kbig.models.arguments import check_choice
from kbig.models.layers import calling
from kbig.training import kernels
from kbig.training.devices import check_bfloat16


def fused(
    model: keras.Model, dtype: str = "float32"
) -> contextlib.AbstractContextManager[int]:
    """Lets KerasHub's encoders train with few passes over memory.

    The same weights and the same mathematics: matrix products of two
    dimensions, queries, keys and values at once, and one compiled loop for all
    that stands between two of them (`kbig.training.kernels`). What an encoder
    drops is drawn from its own seeds, but not what Keras would draw from them.

    Compile and fit inside, and export outside. What Keras traced before is
    traced again, and again afterwards, of this model and those in it: of one
    within another pass the outer one. A shape of a batch that is new is
    compiled first, which takes about a second: let texts of like length have
    one length, as `kbig.data.bucketed_batches` does.

    Encoders with LoRA multiply by its kernels, updates added. Those with
    adapters or fake quantization, and those that normalize first, compute as
    always.

    Args:
        model: built; it is as before afterwards.
        dtype: of the matrix products and of what is kept between them,
            "float32" or "bfloat16". Sums are float32.

    Returns:
        A context manager that gives how many encoders it fused.

    Raises:
        UsageError: when the dtype is another one, or bfloat16 where oneDNN
            is limited to instructions without it.

    Example:
    ```python
    model = kbig.models.bert_classifier(kbig.models.bert("tiny"), 2)
    with fused(model) as count:  # 2
        model.compile("adam", "mse", jit_compile=False)
        model.fit(x, y)
    ```
    """
    check_choice("dtype", dtype, ("float32", "bfloat16"))
    check_bfloat16(dtype)
    return _fused(model, dtype)


@contextlib.contextmanager
def _fused(model: keras.Model, dtype: str) -> Iterator[int]:
    layers = [model, *model._flatten_layers(include_self=False)]
    encoders = [layer for layer in layers if is_fusable(layer)]
    models = [m for m in layers if encoders and isinstance(m, keras.Model)]
    _forget_traces(models)
    try:
        with calling(encoders, functools.partial(_encoded, dtype=dtype)):
            yield len(encoders)
    finally:
        _forget_traces(models)


def is_fusable(layer: keras.Layer) -> bool:
    """Whether a layer computes what KerasHub's encoder does, part by part.

    Args:
        layer: any.

    Returns:
        False for one that is not built, or has a part of another kind.

    Example:
    ```python
    is_fusable(kbig.models.bert("tiny").transformer_layers[0])  # True
    ```
    """
    # KerasHub is slow to import: there is no encoder of it before it is.
    hub = sys.modules.get("keras_hub")
    if hub is None or not layer.built or not _is_plain(layer):
        return False
    encoder = hub.layers.TransformerEncoder
    if not isinstance(layer, encoder) or type(layer).call is not encoder.call:
        return False
    inner = layer._feedforward_intermediate_dense
    return (
        not layer.normalize_first
        and all(
            _computes_as(kind, part) and _is_plain(part)
            for kind, part in _parts(layer)
        )
        and _activation(inner) is not None
    )


def _parts(layer):
    """What an encoder consists of, each with the class that it must be of."""
    attention = layer._self_attention_layer
    yield keras.layers.MultiHeadAttention, attention
    yield keras.layers.Softmax, attention._softmax
    for projection in _projections(attention):
        yield keras.layers.EinsumDense, projection
    yield keras.layers.Dense, layer._feedforward_intermediate_dense
    yield keras.layers.Dense, layer._feedforward_output_dense
    yield keras.layers.LayerNormalization, layer._self_attention_layer_norm
    yield keras.layers.LayerNormalization, layer._feedforward_layer_norm
    yield keras.layers.Dropout, layer._self_attention_dropout
    yield keras.layers.Dropout, layer._feedforward_dropout
    if attention._dropout:
        yield keras.layers.Dropout, attention._dropout_layer


def _computes_as(kind: type, part: keras.Layer) -> bool:
    """Whether all that sets a part apart from its kind is in its kernel."""
    own = getattr(type(part), "computes_by_kernel", False)
    return type(part) is kind or (own and isinstance(part, kind))


def _is_plain(part: keras.Layer) -> bool:
    """Whether nothing was put in the place of what its class computes."""
    return (
        "call" not in vars(part)
        and part.variable_dtype == "float32"
        and getattr(part, "quantization_mode", None) is None
        and getattr(part, "noise_shape", None) is None
    )


def _activation(dense: keras.layers.Dense) -> str | None:
    """The name in `kernels.ACTIVATIONS`, of one that is the same function."""
    from keras_hub.src.utils.keras_utils import gelu_approximate

    known = {
        "gelu": keras.activations.gelu,
        "gelu_approximate": gelu_approximate,
        "relu": keras.activations.relu,
    }
    names = [name for name, each in known.items() if dense.activation is each]
    return names[0] if names else None


def _forget_traces(models) -> None:
    for model in models:
        model.train_function = None
        model.test_function = None
        model.predict_function = None


def _projections(attention):
    return (
        attention._query_dense,
        attention._key_dense,
        attention._value_dense,
        attention._output_dense,
    )


def _encoded(
    layer,
    inputs,
    padding_mask=None,
    attention_mask=None,
    training=None,
    return_attention_scores=False,
    *,
    dtype,
):
    from keras_hub.src.layers.modeling import transformer_layer_utils

    is_masked = getattr(inputs, "_keras_mask", None) is not None
    if return_attention_scores or is_masked:
        return type(layer).call(
            layer,
            inputs,
            padding_mask,
            attention_mask,
            training,
            return_attention_scores,
        )
    mask = transformer_layer_utils.merge_padding_and_attention_mask(
        inputs, padding_mask, attention_mask
    )
    # Weights as they are: Keras would round biases to the policy's dtype.
    with AutocastScope(None):
        return _computed(layer, inputs, mask, training, dtype)


def _computed(layer, inputs, mask, training, dtype):
    attention = layer._self_attention_layer
    shape = tf.shape(inputs)
    x = tf.reshape(tf.cast(inputs, dtype), (-1, inputs.shape[-1]))
    x = _normalized(
        layer._self_attention_layer_norm,
        layer._self_attention_dropout,
        _attended(attention, x, mask, shape, training),
        attention._output_dense.bias,
        x,
        training,
    )
    inner = layer._feedforward_intermediate_dense
    outer = layer._feedforward_output_dense
    between = kernels.bias_activation(
        _product(x, inner.kernel),
        tf.convert_to_tensor(inner.bias),
        _activation(inner),
    )
    x = _normalized(
        layer._feedforward_layer_norm,
        layer._feedforward_dropout,
        _product(between, outer.kernel),
        outer.bias,
        x,
        training,
    )
    return tf.ensure_shape(
        tf.reshape(tf.cast(x, layer.compute_dtype), shape), inputs.shape
    )


def _attended(attention, x, mask, shape, training):
    """What attention gives, without the bias of its last product."""
    *projections, last = _projections(attention)
    heads, depth = projections[0].kernel.shape[1:]
    width = heads * depth
    # One product for all three reads `x` once.
    kernels_of = [tf.reshape(p.kernel, (-1, width)) for p in projections]
    biases = [tf.reshape(p.bias, (width,)) for p in projections]
    # Here, and so before the scores are rounded.
    kernels_of[0] *= depth**-0.5
    biases[0] *= depth**-0.5
    kernel, bias = tf.concat(kernels_of, 1), tf.concat(biases, 0)
    y = kernels.bias_activation(_product(x, kernel), bias, "linear")
    y = tf.reshape(y, (shape[0], shape[1], 3, heads, depth))
    queries, keys, values = tf.unstack(tf.transpose(y, (2, 0, 3, 1, 4)))
    weights = kernels.attention_weights(
        tf.matmul(queries, keys, transpose_b=True),
        None if mask is None else tf.cast(mask, "bool")[:, None],
        # Keras computes otherwise without dropout.
        attention._dropout > 0,
        *_dropping(attention._dropout and attention._dropout_layer, training),
    )
    y = tf.transpose(tf.matmul(weights, values), (0, 2, 1, 3))
    return _product(
        tf.reshape(y, (-1, width)), tf.reshape(last.kernel, (width, -1))
    )


def _product(x, kernel):
    return tf.matmul(x, tf.cast(tf.convert_to_tensor(kernel), x.dtype))


def _normalized(norm, dropout, product, bias, residual, training):
    return kernels.residual_norm(
        product,
        tf.convert_to_tensor(bias),
        residual,
        tf.convert_to_tensor(norm.gamma),
        tf.convert_to_tensor(norm.beta),
        norm.epsilon,
        *_dropping(dropout, training),
    )


def _dropping(dropout, training) -> tuple:
    """The rate of a dropout layer, if there is one, and its next seed."""
    if not (training and dropout and dropout.rate):
        return 0.0, tf.zeros(2, "int64")
    seed = tf.cast(dropout.seed_generator.next(), "int64")
    replica = tf.distribute.get_replica_context()
    number = replica.replica_id_in_sync_group if replica else 0
    # Replicas share a seed, and shall not drop the same.
    return dropout.rate, seed + tf.stack([0, tf.cast(number, "int64")])
