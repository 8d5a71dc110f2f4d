"""How activation functions compute in integers."""

import dataclasses
from collections.abc import Callable

import keras

# Kernels of LiteRT give these functions with just these ranges.
UNIT_RANGE = (0.0, 255 / 256)
TANH_RANGE = (-1.0, 127 / 128)


@dataclasses.dataclass(frozen=True)
class Activation:
    """An activation function in integers.

    Args:
        range: of what it gives, where that need not be observed.
        folded: runtimes fold it into the op before it, so that nothing is
            rounded between.
        compute: `(quantize, name, x)` to what it gives, where one kernel does
            not do.
    """

    range: tuple[float, float] | None = None
    folded: bool = False
    compute: Callable | None = None


def _silu(quantize, name: str, x):
    gate = keras.ops.sigmoid(x)
    return x * quantize(f"{name}_gate", gate, fixed=UNIT_RANGE)


ACTIVATIONS = {
    "linear": Activation(folded=True),
    "relu": Activation(folded=True),
    "relu6": Activation(folded=True),
    "leaky_relu": Activation(),
    "gelu": Activation(),
    "gelu_approximate": Activation(),
    "silu": Activation(compute=_silu),
    "hard_silu": Activation(),
    "sigmoid": Activation(range=UNIT_RANGE),
    "tanh": Activation(range=TANH_RANGE),
    "softmax": Activation(range=UNIT_RANGE),
}


def found(function) -> Activation | None:
    """How a function computes in integers, None where it is not known."""
    if function is None:
        return ACTIVATIONS["linear"]
    # Functions of Keras and KerasHub; another one of that name may differ.
    if not getattr(function, "__module__", "").startswith("keras"):
        return None
    return ACTIVATIONS.get(getattr(function, "__name__", ""))


def is_linear(layer) -> bool:
    """Whether a layer ends without an activation function."""
    function = vars(layer).get("activation")
    return function is None or function is keras.activations.linear


def range_of(layer) -> tuple[float, float] | None:
    """The range of what a layer gives, where its activation has one."""
    known = found(vars(layer).get("activation"))
    return known.range if known else None


def obstacle(layer) -> str:
    """Why a layer's activation cannot be quantized; empty when it can."""
    function = vars(layer).get("activation")
    if found(function) is not None:
        return ""
    return f"its activation {getattr(function, '__name__', function)!r}"


def activate(quantize, name: str, function, x):
    """Computes an activation function of Keras in integers.

    Args:
        quantize: of the layer.
        name: begins the names of the ranges within.
        function: of Keras.
        x: not rounded yet.

    Returns:
        What it gives, not rounded yet.
    """
    known = found(function)
    if known.folded:
        return x if function is None else function(x)
    x = quantize(f"{name}_argument", x)
    if known.compute is not None:
        return known.compute(quantize, name, x)
    return function(x)
