"""Recurrent layers: the cell step by step, the loop around it as it is."""

import keras
import tensorflow as tf

from kbig.compression.quantization import activations
from kbig.compression.quantization.table import LayerSpec
from kbig.compression.quantization.table import register_layer

L = keras.layers


def _active(quantize, name, function, x):
    """An activation function whose argument and outcome are rounded."""
    known = activations.found(function)
    y = activations.activate(quantize, name, function, x)
    return quantize(name, y, fixed=known.range)


def _dropped(x, training, mask):
    """What dropout leaves: the same at every step, and for every gate."""
    kept = mask(x) if training else None
    if kept is None:
        return x
    return x * (kept[0] if isinstance(kept, list | tuple) else kept)


def _products(cell, quantize, x, state, biases, training):
    """The two products that gates are made of."""
    x = _dropped(x, training, cell.get_dropout_mask)
    state = _dropped(state, training, cell.get_recurrent_dropout_mask)
    pairs = ((x, cell.kernel), (state, cell.recurrent_kernel))
    return [
        quantize(name, _affine(*pair, bias))
        for name, pair, bias in zip(
            ("from_inputs", "from_state"), pairs, biases
        )
    ]


def _affine(x, kernel, bias):
    y = tf.matmul(x, kernel)
    return y if bias is None else tf.nn.bias_add(y, tf.cast(bias, y.dtype))


def _parts(quantize, x, number: int) -> list:
    parts = tf.split(x, number, axis=-1)
    return [quantize.same(x, part) for part in parts]


def _lstm(cell, quantize, inputs, states, training=False):
    state, carry = (
        quantize(name, x) for name, x in zip(("state", "carry"), states)
    )
    biases = (cell.bias, None)
    sums = _products(cell, quantize, inputs, state, biases, training)
    sums = quantize("sums", sums[0] + sums[1])
    gates = ("input_gate", "forget_gate", "candidate", "output_gate")
    i, f, c, o = (
        _active(
            quantize,
            name,
            cell.activation
            if name == "candidate"
            else cell.recurrent_activation,
            x,
        )
        for name, x in zip(gates, _parts(quantize, sums, 4))
    )
    carry = quantize(
        "carry", quantize("kept", f * carry) + quantize("new", i * c)
    )
    seen = _active(quantize, "seen", cell.activation, carry)
    state = quantize("state", o * seen)
    return state, [state, carry]


def _gru(cell, quantize, inputs, states, training=False):
    state = quantize("state", states[0])
    biases = tf.unstack(cell.bias) if cell.use_bias else (None, None)
    ours, theirs = _products(cell, quantize, inputs, state, biases, training)
    (our_z, our_r, our_h), (their_z, their_r, their_h) = (
        _parts(quantize, x, 3) for x in (ours, theirs)
    )

    def gate(name, x):
        x = quantize(f"{name}_sum", x)
        return _active(quantize, name, cell.recurrent_activation, x)

    z = gate("update_gate", our_z + their_z)
    r = gate("reset_gate", our_r + their_r)
    h = quantize("candidate_sum", our_h + quantize("reset", r * their_h))
    h = _active(quantize, "candidate", cell.activation, h)
    # h + z (state - h): one product less than z state + (1 - z) h.
    change = quantize("change", z * quantize("difference", state - h))
    state = quantize("state", h + change)
    return state, [state]


def _simple(cell, quantize, inputs, states, training=False):
    fixed = activations.found(cell.activation).range
    state = quantize("state", states[0], fixed=fixed)
    biases = (cell.bias, None)
    sums = _products(cell, quantize, inputs, state, biases, training)
    sums = quantize("sums", sums[0] + sums[1])
    state = activations.activate(quantize, "activation", cell.activation, sums)
    state = quantize("state", state, fixed=fixed)
    return state, [state]


def _known_functions(cell) -> str:
    for name in ("activation", "recurrent_activation"):
        function = getattr(cell, name, None)
        if activations.found(function) is None:
            return f"its {name} {getattr(function, '__name__', function)!r}"
    return ""


def _gru_obstacle(cell) -> str:
    if not cell.reset_after:
        return "reset_after=False"
    return _known_functions(cell)


_KERNELS = {name: lambda cell: (-1,) for name in ("kernel", "recurrent_kernel")}


def _cell(call, obstacle=_known_functions) -> LayerSpec:
    return LayerSpec(call, _KERNELS, repeats=True, obstacle=obstacle)


register_layer(L.LSTMCell, _cell(_lstm))
register_layer(L.GRUCell, _cell(_gru, _gru_obstacle))
register_layer(L.SimpleRNNCell, _cell(_simple))


def _loop(layer, quantize, sequences, *args, **kwargs):
    """The layer's own loop; what it gives are states of its cell."""
    sequences = quantize.inputs(sequences)
    quantize.prepare(layer.cell)
    outputs = layer.float_call(sequences, *args, **kwargs)
    quantize.settle(layer.cell)
    if not isinstance(outputs, list | tuple):
        return quantize.made_by(layer.cell, "state", outputs)
    first, *states = outputs
    return [quantize.made_by(layer.cell, "state", first), *states]


for layer_class in (L.LSTM, L.GRU, L.SimpleRNN):
    register_layer(layer_class, LayerSpec(_loop))


def _both_ways(layer, quantize, sequences, *args, **kwargs):
    sequences = quantize.inputs(sequences)
    return quantize.output(layer.float_call(sequences, *args, **kwargs))


def _merged(layer) -> str:
    if layer.merge_mode not in ("concat", "sum", "mul"):
        return f"merge_mode={layer.merge_mode!r}"
    return "return_state=True" if layer.return_state else ""


register_layer(L.Bidirectional, LayerSpec(_both_ways, obstacle=_merged))
