"""Rules of what moves entries: the units move with them."""

import math

import keras
import numpy as np

from kbig.compression.structured.convolutions import channel_axis
from kbig.compression.structured.flow import Flow
from kbig.compression.structured.trace import Call


def flatten(call: Call) -> list[Flow]:
    """Every entry of an example, in one axis, the channels inmost."""
    flow, (shape,) = call.flow, call.shapes
    axis = channel_axis(call.layer, len(flow.shape))
    order = [i for i in range(len(flow.shape)) if i != axis] + [axis]
    moved = Flow(
        tuple(flow.shape[i] for i in order),
        tuple(flow.units[i] for i in order),
    )
    return [_reshaped(call, moved, shape)]


def reshape(call: Call) -> list[Flow]:
    """Entries keep their order; a layer's target counts units."""
    flow, (shape,) = call.flow, call.shapes
    result = _reshaped(call, flow, shape)
    name, first = "target_shape", 1
    if not isinstance(call.layer, keras.Layer):
        name, first = "newshape", 0
    for axis in result.labelled():
        if getattr(call.layer, name)[axis - first] != -1:
            call.size((name, axis - first), result.units[axis])
    return [result]


def permute(call: Call) -> list[Flow]:
    """A `Permute` layer."""
    return [_permuted(call, (0, *call.layer.dims))]


def transpose(call: Call) -> list[Flow]:
    """`ops.transpose`."""
    axes = call.layer.axes
    if axes is None:
        axes = reversed(range(len(call.flow.shape)))
    return [_permuted(call, tuple(axes))]


def repeat_vector(call: Call) -> list[Flow]:
    """Each vector becomes a sequence."""
    flow = call.flow
    return [Flow(call.shapes[0], (None, None, flow.units[-1]))]


def expand_dims(call: Call) -> list[Flow]:
    """`ops.expand_dims`."""
    flow, (shape,) = call.flow, call.shapes
    new = {x % len(shape) for x in keras.tree.flatten(call.layer.axis)}
    units = iter(flow.units)
    return [
        Flow(
            shape,
            tuple(None if i in new else next(units) for i in range(len(shape))),
        )
    ]


def squeeze(call: Call) -> list[Flow]:
    """`ops.squeeze` of given axes."""
    if call.layer.axis is None:
        return call.whole("which drops the axes that happen to be 1")
    return [_without(call, call.layer.axis)]


def reduction(call: Call) -> list[Flow]:
    """`ops.mean` and its like: what is averaged over stays."""
    flow, (shape,), layer = call.flow, call.shapes, call.layer
    if layer.axis is None:
        return call.whole("which takes all units together")
    if not layer.keepdims:
        return [_without(call, layer.axis)]
    gone = _axes(flow, layer.axis)
    _pin_taken_together(call, flow, gone)
    units = (None if i in gone else x for i, x in enumerate(flow.units))
    return [Flow(shape, tuple(units))]


def concatenate(call: Call) -> list[Flow]:
    """Units of several layers side by side."""
    flows, (shape,) = call.flows, call.shapes
    axis = call.layer.axis % len(shape)
    units = []
    for position in range(len(shape)):
        along = [flow.units[position] for flow in flows]
        if position == axis:
            units.append(_joined(call, flows, axis))
            continue
        result = along[0]
        for other in along[1:]:
            reason = f"side by side in {call.path} with what must stay"
            result = call.tie(result, other, reason)
        units.append(result)
    return [Flow(shape, tuple(units))]


def get_item(call: Call) -> list[Flow]:
    """`x[...]` with numbers and slices."""
    flow, (shape,) = call.flow, call.shapes
    key = call.args[1] if len(call.args) > 1 else call.kwargs["key"]
    key = _expanded(key if isinstance(key, tuple) else (key,), flow)
    if key is None:
        return call.whole("which is indexed by other than numbers and slices")
    units = []
    for units_along, entry in zip(flow.units, key):
        if isinstance(entry, int):
            call.pin(units_along, f"{call.path} takes one entry of an axis")
        elif units_along is None:
            units.append(None)
        else:
            units.append(units_along[entry])
            if entry != slice(None):
                call.pin(units_along, f"{call.path} takes part of an axis")
    return [Flow(shape, tuple(units))]


def _expanded(key: tuple, flow: Flow) -> tuple | None:
    missing = len(flow.shape) - len(key)
    if any(x is Ellipsis for x in key):
        where = next(i for i, x in enumerate(key) if x is Ellipsis)
        key = (*key[:where], *(slice(None),) * (missing + 1), *key[where + 1 :])
    else:
        key = (*key, *(slice(None),) * missing)
    plain = all(_is_plain(x) for x in key)
    return key if plain and len(key) == len(flow.shape) else None


def _is_plain(entry) -> bool:
    if isinstance(entry, slice):
        bounds = (entry.start, entry.stop, entry.step)
        return all(x is None or isinstance(x, int) for x in bounds)
    return isinstance(entry, int)


def _joined(call, flows, axis):
    if all(flow.units[axis] is None for flow in flows):
        return None
    if any(flow.shape[axis] is None for flow in flows):
        call.whole("which joins axes of free length")
        return None
    return np.concatenate(
        [
            call.fixed(flow.shape[axis])
            if flow.units[axis] is None
            else flow.units[axis]
            for flow in flows
        ]
    )


def _permuted(call, axes) -> Flow:
    flow = call.flow
    return Flow(call.shapes[0], tuple(flow.units[i] for i in axes))


def _axes(flow, axis) -> set[int]:
    return {x % len(flow.shape) for x in keras.tree.flatten(axis)}


def _without(call, axis) -> Flow:
    flow = call.flow
    gone = _axes(flow, axis)
    _pin_taken_together(call, flow, gone)
    kept = (x for i, x in enumerate(flow.units) if i not in gone)
    return Flow(call.shapes[0], tuple(kept))


def _pin_taken_together(call, flow, axes) -> None:
    for axis in axes:
        call.pin(flow.units[axis], f"{call.path} takes the units together")


def _reshaped(call, flow: Flow, shape) -> Flow:
    labelled = flow.labelled()
    last = len(flow.shape) - 1
    if not labelled:
        return Flow.fixed(shape)
    if labelled == (last,) and flow.shape[-1] == shape[-1]:
        return Flow(shape, (*(None,) * (len(shape) - 1), flow.units[-1]))
    sizes = flow.shape[1:], shape[1:]
    is_free = None in (*sizes[0], *sizes[1])
    if (
        len(labelled) > 1
        or is_free
        or math.prod(sizes[0]) != math.prod(sizes[1])
    ):
        reason = "which reshapes several axes or free ones"
        return call.whole(reason)[0]
    return _rearranged(call, flow, labelled[0], shape)


def _rearranged(call, flow, axis, shape) -> Flow:
    """Follows each entry to its new place, and finds the axis of units."""
    where = [1] * (len(flow.shape) - 1)
    where[axis - 1] = -1
    entries = np.broadcast_to(
        flow.units[axis].reshape(where), flow.shape[1:]
    ).reshape(shape[1:])
    new, along = _axis_of_units(entries)
    for column in along.T[1:]:
        call.trace.units.tie(along[:, 0], column)
    units = [None] * len(shape)
    units[new + 1] = along[:, 0]
    return Flow(shape, tuple(units))


def _axis_of_units(entries: np.ndarray) -> tuple[int, np.ndarray]:
    """The axis that alone tells the unit, or else the last one."""
    candidates = []
    for axis in reversed(range(entries.ndim)):
        along = np.moveaxis(entries, axis, 0).reshape(entries.shape[axis], -1)
        if (along == along[:, :1]).all():
            return axis, along
        candidates.append((axis, along))
    return candidates[0]
