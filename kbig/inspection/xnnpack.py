"""Which operations of a .tflite file XNNPACK takes over by default."""

from collections.abc import Sequence

_FLOATS = ("float32", "float16")
_INTEGERS = ("int8", "uint8")
_BOTH = (*_FLOATS, *_INTEGERS)

# Dtypes that data may have, by operator: those that `VisitNode` and the checks
# of each visitor let through in tflite/delegates/xnnpack/xnnpack_delegate.cc
# of github.com/google-ai-edge/LiteRT, commit f677574, with its int8 kernels
# switched on, as the wheels of ai-edge-litert have them.
_TAKEN = {
    **dict.fromkeys(
        (
            "ABS",
            "CEIL",
            "COS",
            "DIV",
            "EXP",
            "FLOOR",
            "GELU",
            "HARD_SWISH",
            "LOG",
            "MAXIMUM",
            "MINIMUM",
            "NEG",
            "PRELU",
            "RELU",
            "RELU6",
            "RELU_N1_TO_1",
            "ROUND",
            "RSQRT",
            "SIN",
            "SOFTMAX",
            "SQRT",
            "SQUARE",
            "SQUARED_DIFFERENCE",
            "AVERAGE_POOL_2D",
        ),
        _FLOATS,
    ),
    **dict.fromkeys(
        (
            "ADD",
            "BATCH_MATMUL",
            "CONCATENATION",
            "CONV_2D",
            "DEPTH_TO_SPACE",
            "DEPTHWISE_CONV_2D",
            "EXPAND_DIMS",
            "FULLY_CONNECTED",
            "LEAKY_RELU",
            "LOGISTIC",
            "MAX_POOL_2D",
            "MEAN",
            "MUL",
            "PAD",
            "REDUCE_MAX",
            "REDUCE_MIN",
            "RESHAPE",
            "RESIZE_BILINEAR",
            "SLICE",
            "SPACE_TO_DEPTH",
            "SPLIT",
            "STRIDED_SLICE",
            "SUB",
            "SUM",
            "TANH",
            "TRANSPOSE",
            "TRANSPOSE_CONV",
            "DEQUANTIZE",
            "QUANTIZE",
        ),
        _BOTH,
    ),
    "ELU": (*_FLOATS, "int8"),
}
# Where data are among the inputs, if not first. The others are axes, shapes
# and weights, which may have dtypes of their own.
_DATA = {"SPLIT": slice(1, 2), "TRANSPOSE_CONV": slice(2, 3)}
_PAIRS = ("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE")
_DATA |= {name: slice(0, 2) for name in (*_PAIRS, "SUB")}
_DATA["CONCATENATION"] = slice(0, None)
# Their weights must be constants.
_WEIGHTED = (
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "TRANSPOSE_CONV",
)


def takes(
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    constant: Sequence[bool],
    same_rank: bool = True,
) -> bool:
    """Tells whether XNNPACK takes an operation over by default.

    It goes by operator and dtypes. A rare option or shape can still leave an
    operation to LiteRT's own kernels.

    Args:
        name: of the operator.
        inputs: dtypes of the inputs.
        outputs: likewise.
        constant: for each input whether it is stored in the file.
        same_rank: the output has as many axes as the first input.

    Returns:
        Whether it does.

    Example:
    ```python
    takes("ADD", ["int8", "int8"], ["int8"], [False, False])  # True
    takes("ADD", ["int32", "int32"], ["int32"], [False, False])  # False
    ```
    """
    allowed = _TAKEN.get(name, ())
    data = {*inputs[_DATA.get(name, slice(0, 1))], *outputs}
    if not data or not data <= {*allowed}:
        return False
    if name == "STRIDED_SLICE" and not same_rank:
        return False
    return name not in _WEIGHTED or constant[1]
