"""Which rule tells how units pass a layer: one table, one entry a type."""

import functools

import keras
import keras_hub

from kbig.compression.structured import attention
from kbig.compression.structured import convolutions
from kbig.compression.structured import elementwise
from kbig.compression.structured import projections
from kbig.compression.structured import recurrent
from kbig.compression.structured import shapes
from kbig.compression.structured.flow import Flow
from kbig.compression.structured.narrow_encoder import NarrowEncoder
from kbig.compression.structured.trace import Call
from kbig.compression.structured.trace import Rule

_L = keras.layers


def time_distributed(call: Call) -> list[Flow]:
    """The rule of the layer inside, for each step."""
    flow, (shape,), layer = call.flow, call.shapes, call.layer.layer
    if flow.units[1] is not None:
        return call.whole("which takes the units one by one")
    step = Flow((flow.shape[0], *flow.shape[2:]), (None, *flow.units[2:]))
    inner = call.part(
        layer,
        (step,),
        ((shape[0], *shape[2:]),),
        ("layer", "config"),
        repeats=call.trace.positions(shape[1:2]),
    )
    (output,) = rule_of(layer)(inner)
    return [Flow(shape, (None, None, *output.units[1:]))]


_RULES: dict[Rule, tuple] = {
    projections.dense: (_L.Dense,),
    projections.einsum_dense: (_L.EinsumDense,),
    projections.embedding: (_L.Embedding,),
    convolutions.convolution: (_L.Conv1D, _L.Conv2D, _L.Conv3D),
    convolutions.transposed_convolution: (
        _L.Conv1DTranspose,
        _L.Conv2DTranspose,
        _L.Conv3DTranspose,
    ),
    convolutions.depthwise_convolution: (
        _L.DepthwiseConv1D,
        _L.DepthwiseConv2D,
    ),
    convolutions.separable_convolution: (
        _L.SeparableConv1D,
        _L.SeparableConv2D,
    ),
    convolutions.channelwise: (
        _L.AveragePooling1D,
        _L.AveragePooling2D,
        _L.AveragePooling3D,
        _L.Cropping1D,
        _L.Cropping2D,
        _L.Cropping3D,
        _L.MaxPooling1D,
        _L.MaxPooling2D,
        _L.MaxPooling3D,
        _L.UpSampling1D,
        _L.UpSampling2D,
        _L.UpSampling3D,
        _L.ZeroPadding1D,
        _L.ZeroPadding2D,
        _L.ZeroPadding3D,
    ),
    convolutions.global_pooling: (
        _L.GlobalAveragePooling1D,
        _L.GlobalAveragePooling2D,
        _L.GlobalAveragePooling3D,
        _L.GlobalMaxPooling1D,
        _L.GlobalMaxPooling2D,
        _L.GlobalMaxPooling3D,
    ),
    recurrent.recurrent: (_L.LSTM, _L.GRU, _L.SimpleRNN),
    recurrent.bidirectional: (_L.Bidirectional,),
    attention.attention: (_L.MultiHeadAttention,),
    attention.encoder: (keras_hub.layers.TransformerEncoder, NarrowEncoder),
    elementwise.unary: (
        _L.ActivityRegularization,
        _L.ELU,
        _L.GaussianDropout,
        _L.GaussianNoise,
        _L.Identity,
        _L.LeakyReLU,
        _L.ReLU,
        _L.SpatialDropout1D,
        _L.SpatialDropout2D,
        _L.SpatialDropout3D,
    ),
    elementwise.dropout: (_L.AlphaDropout, _L.Dropout),
    elementwise.activation: (_L.Activation,),
    elementwise.prelu: (_L.PReLU,),
    elementwise.softmax: (_L.Softmax,),
    elementwise.batch_normalization: (_L.BatchNormalization,),
    elementwise.normalization: (
        _L.LayerNormalization,
        _L.RMSNormalization,
        _L.UnitNormalization,
    ),
    elementwise.rescaling: (_L.Rescaling,),
    elementwise.merge: (
        _L.Add,
        _L.Average,
        _L.Maximum,
        _L.Minimum,
        _L.Multiply,
        _L.Subtract,
    ),
    shapes.concatenate: (_L.Concatenate,),
    shapes.flatten: (_L.Flatten,),
    shapes.permute: (_L.Permute,),
    shapes.repeat_vector: (_L.RepeatVector,),
    shapes.reshape: (_L.Reshape,),
    time_distributed: (_L.TimeDistributed,),
}
_LAYERS = {layer: rule for rule, layers in _RULES.items() for layer in layers}

# Operations of `keras.ops` have no public classes; their names are stable.
_OPERATION_RULES: dict[Rule, tuple[str, ...]] = {
    elementwise.unary: (
        "Absolute",
        "Cast",
        "Elu",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSilu",
        "LeakyRelu",
        "Negative",
        "Relu",
        "Relu6",
        "Selu",
        "Sigmoid",
        "Silu",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Square",
        "StopGradient",
        "Tanh",
    ),
    elementwise.merge: (
        "Add",
        "Divide",
        "Maximum",
        "Minimum",
        "Multiply",
        "Power",
        "Subtract",
        "TrueDivide",
        "Where",
    ),
    shapes.concatenate: ("Concatenate",),
    shapes.expand_dims: ("ExpandDims",),
    shapes.get_item: ("GetItem",),
    shapes.reduction: ("Max", "Mean", "Min", "Sum"),
    shapes.reshape: ("Reshape",),
    shapes.squeeze: ("Squeeze",),
    shapes.transpose: ("Transpose",),
}
_OPERATIONS = {
    name: rule for rule, names in _OPERATION_RULES.items() for name in names
}


def rule_of(operation) -> Rule:
    """Finds how units pass a layer or an operation.

    Args:
        operation: a layer, or an operation of `keras.ops`.

    Returns:
        Its rule; that of a type without one keeps everything whole.

    Example:
    ```python
    rule_of(keras.layers.Dense(3))  # projections.dense
    ```
    """
    kind = type(operation)
    if not isinstance(operation, keras.Layer):
        own = kind.__module__.startswith("keras.src.ops.")
        rule = _OPERATIONS.get(kind.__name__) if own else None
        return rule or functools.partial(_whole, "an operation without a rule")
    rewritten = getattr(operation, "quantization_mode", None)
    if rewritten or getattr(operation, "lora_enabled", False):
        return functools.partial(_whole, "which is quantized or has LoRA")
    unknown = functools.partial(_whole, f"a {kind.__name__}, without a rule")
    return _LAYERS.get(kind, unknown)


def _whole(reason: str, call: Call) -> list[Flow]:
    return call.whole(reason)
