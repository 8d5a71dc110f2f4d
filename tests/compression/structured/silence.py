"""Makes units contribute nothing, by what each layer type computes."""

import keras
import numpy as np


def randomize(model, seed=0):
    """Gives every weight values that nothing is trivial about."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        value = generator.normal(size=variable.shape) * 0.4
        if variable.name == "moving_variance":
            value = np.abs(value) + 0.5
        variable.assign(value)


def silence(model, plan):
    """Lets the units that a plan removes give zeros.

    Their incoming weights and biases become zero. All activations here map
    zero to zero; batch normalization does where mean and offset are zero.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(layer.beta * 0)
            layer.moving_mean.assign(layer.moving_mean * 0)
    for group in plan.groups:
        for path, kept in zip(group.layers, group.kept):
            layer = layer_at(model, path)
            zero, count = _ZERO[type(layer)], units_of(layer)
            zero(layer, [i for i in range(count) if i not in kept])


def layer_at(model, path):
    """Finds a layer by its path in a plan."""
    holder = model
    for name in path.split("/"):
        if isinstance(holder, keras.Model):
            holder = holder.get_layer(name)
        else:
            inner = holder._flatten_layers(include_self=False)
            (holder,) = (x for x in inner if x.name == name)
    return holder


def units_of(layer):
    for name in ("units", "filters", "output_dim", "_num_heads"):
        if hasattr(layer, name):
            return getattr(layer, name)
    return layer.kernel.shape[-1]


def _zero(variable, index):
    if variable is not None:
        value = np.array(variable)
        value[index] = 0
        variable.assign(value)


def _last(layer, units):
    _zero(layer.kernel, (..., units))
    _zero(layer.bias, (..., units))


def _transposed(layer, units):
    _zero(layer.kernel, (..., units, slice(None)))
    _zero(layer.bias, (..., units))


def _separable(layer, units):
    _zero(layer.pointwise_kernel, (..., units))
    _zero(layer.bias, (..., units))


def _embedding(layer, units):
    _zero(layer.embeddings, (..., units))


def _recurrent(layer, units):
    cell = layer.cell
    gates = cell.kernel.shape[-1] // layer.units
    entries = [x + gate * layer.units for gate in range(gates) for x in units]
    for variable in (cell.kernel, cell.recurrent_kernel, cell.bias):
        _zero(variable, (..., entries))


def _heads(layer, units):
    _zero(layer._value_dense.kernel, (slice(None), units))
    _zero(layer._value_dense.bias, (units,))


_L = keras.layers
_ZERO = {
    _L.Dense: _last,
    _L.EinsumDense: _last,
    _L.Embedding: _embedding,
    _L.Conv1D: _last,
    _L.Conv2D: _last,
    _L.Conv3D: _last,
    _L.Conv2DTranspose: _transposed,
    _L.SeparableConv2D: _separable,
    _L.LSTM: _recurrent,
    _L.GRU: _recurrent,
    _L.SimpleRNN: _recurrent,
    _L.MultiHeadAttention: _heads,
}


def check_exact(model, inputs, keep=0.5, tolerance=2e-5, **options):
    """The smaller model computes the same where what went gave zeros.

    Returns:
        The plan and the smaller model.
    """
    from kbig import compression

    randomize(model)
    plan = compression.plan_shrink(model, keep, **options)
    before = outputs(model, inputs)
    silence(model, plan)
    values = [np.array(x) for x in model.weights]
    expected = outputs(model, inputs)
    # What is removed did matter, or the test would show nothing.
    assert max(np.abs(x - y).max() for x, y in zip(before, expected)) > 1e-3
    smaller = plan.apply()
    for found, wanted in zip(outputs(smaller, inputs), expected):
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, atol=tolerance * scale)
    for variable, value in zip(model.weights, values):
        np.testing.assert_array_equal(variable, value)
    assert smaller.count_params() == plan.parameters_after
    assert smaller.count_params() < model.count_params()
    return plan, smaller


def outputs(model, inputs):
    """The outputs of a model in inference, flat, as arrays."""
    return [np.array(x) for x in keras.tree.flatten(model(inputs))]
