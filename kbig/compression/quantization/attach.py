"""Where ranges go: found by running a sample, recorded, and put in place."""

import dataclasses
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import keras

from kbig.compression.names import check_patterns
from kbig.compression.names import is_meant
from kbig.compression.quantization import modes
from kbig.compression.quantization.discovery import Discovery
from kbig.compression.quantization.elementwise import in_float
from kbig.compression.quantization.ranges import Observation
from kbig.compression.quantization.ranges import Range
from kbig.compression.quantization.ranges import RangeSpec
from kbig.compression.quantization.swap import swap
from kbig.compression.quantization.table import LayerSpec
from kbig.compression.quantization.table import spec_of
from kbig.errors import UsageError
from kbig.models.layers import children

_ISLAND = LayerSpec(in_float)
# Of plans: where layers of the table have ranges.
_VERSION = 2


@dataclasses.dataclass(frozen=True)
class QuantizationPlan:
    """All that a float model and its weights lack of being a quantized one.

    Layers are numbered as `operations` lists them.

    Args:
        bits: of weights.
        islands: steps that integers hold badly are computed in float.
        skipped: numbers of the layers that stay in float.
        ranges: number of a layer, and a range of its own.
        folded: number of a layer, and of the one that is folded into it.
        float_outputs: what the model gives is not rounded at last.
        observation: how ranges are found in training.
    """

    bits: int
    islands: bool
    skipped: tuple[int, ...]
    ranges: tuple[tuple[int, RangeSpec], ...] = ()
    folded: tuple[tuple[int, int], ...] = ()
    float_outputs: bool = False
    observation: Observation = Observation()

    def to_config(self) -> dict:
        """As JSON has it."""
        return {"version": _VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_config(cls, config: dict) -> "QuantizationPlan":
        """From what `to_config` made of one.

        Raises:
            UsageError: another version of kbig did, whose layers had other
                ranges.
        """
        if config.get("version") != _VERSION:
            raise UsageError(
                "The model was quantized by another version of kbig, whose "
                "layers round elsewhere. Received: plan version "
                f"{config.get('version')}, expected {_VERSION}. Quantize the "
                "float model again."
            )
        ranges = []
        for number, spec in config["ranges"]:
            fixed = spec["fixed"]
            fixed = fixed if fixed is None else tuple(fixed)
            ranges.append((number, RangeSpec(**{**spec, "fixed": fixed})))
        return cls(
            bits=config["bits"],
            islands=config["islands"],
            skipped=tuple(config["skipped"]),
            ranges=tuple(ranges),
            folded=tuple(tuple(pair) for pair in config["folded"]),
            float_outputs=config["float_outputs"],
            observation=Observation(**config["observation"]),
        )


def operations(model: keras.Model) -> list[tuple[str, object]]:
    """Lists layers and operations of a model, however deep, each once.

    Args:
        model: a built one.

    Returns:
        Names of the layers that lead to it, joined with "/", and it; the
        model itself is not among them.
    """
    seen = {id(model)}
    return list(_below(model, "", seen))


def _below(layer, path: str, seen: set) -> Iterator[tuple[str, object]]:
    for child in _held(layer):
        if id(child) in seen:
            continue
        seen.add(id(child))
        name = f"{path}/{child.name}" if path else child.name
        yield name, child
        yield from _below(child, name, seen)


def _held(layer) -> Sequence:
    own = getattr(layer, "operations", None)
    if isinstance(layer, keras.Model) and own is not None:
        return own
    if not isinstance(layer, keras.Layer):
        return ()
    spec = spec_of(layer)
    unused = spec.inside if spec else ()
    hidden = {id(vars(layer).get(name)) for name in unused}
    return [
        x
        for x in children(layer)
        if not isinstance(x, Range) and id(x) not in hidden
    ]


def skipped_layers(
    found: Sequence[tuple[str, object]], patterns: Iterable[str]
) -> tuple[int, ...]:
    """Numbers of the layers that patterns mean, and of those in them.

    Raises:
        UsageError: a pattern means nothing.
    """
    if not patterns:
        return ()
    names = [name for name, _ in found]
    patterns = check_patterns("skip", patterns, names)
    return tuple(i for i, name in enumerate(names) if is_meant(name, patterns))


def check_known(found, skipped: Iterable[int]) -> None:
    """Makes sure that every layer that is not skipped can be quantized.

    Raises:
        UsageError: which names all that cannot.
    """
    unknown = []
    for number, (name, operation) in enumerate(found):
        if number in skipped or _is_transparent(operation):
            continue
        spec = spec_of(operation)
        kind = type(operation).__name__
        if spec is None:
            unknown.append(f"{name} (a {kind})")
        elif spec.obstacle(operation):
            unknown.append(f"{name} (a {kind}: {spec.obstacle(operation)})")
    if unknown:
        raise UsageError(
            "The model has layers that cannot be quantized. Received: "
            f"{', '.join(unknown)}. Leave them in float with skip=[...], or "
            "tell how they compute with `kbig.compression.register_layer`."
        )


def _is_transparent(operation) -> bool:
    """Computes with other layers, and nothing by itself."""
    return isinstance(operation, keras.Model) and spec_of(operation) is None


def swap_all(found, plan: QuantizationPlan) -> None:
    """Lets every layer that is not skipped be a quantized one."""
    for number, (_, operation) in enumerate(found):
        spec = _ISLAND if number in plan.skipped else spec_of(operation)
        if spec is not None:
            swap(operation, spec, plan.bits, plan.islands)


def discover(model: keras.Model, sample, plan: QuantizationPlan):
    """Runs a sample to find the tensors that need a range.

    Args:
        model: in float32; its layers are swapped.
        sample: what the model takes, a few rows.
        plan: without ranges.

    Returns:
        The plan with them.
    """
    found = operations(model)
    swap_all(found, plan)
    numbers = {id(operation): i for i, (_, operation) in enumerate(found)}
    with modes.entered(Discovery()) as mode:
        outputs = keras.tree.flatten(model(sample, training=False))
        ranged = [mode.last(x) for x in outputs]
    return dataclasses.replace(
        plan,
        float_outputs=not all(ranged),
        ranges=tuple(
            (numbers[id(x.layer)], mode.spec_of(x))
            for x in mode.sources()
            if not x.spec.table
        ),
        folded=tuple(
            (numbers[id(into)], numbers[id(layer)])
            for into, layer in mode.folded()
        ),
    )


def attach(model: keras.Model, plan: QuantizationPlan) -> None:
    """Makes a float model a quantized one, with ranges not yet found."""
    found = operations(model)
    swap_all(found, plan)
    by_layer = {}
    for number, spec in plan.ranges:
        made = Range(spec, plan.observation)
        by_layer.setdefault(number, []).append(made)
    loose = []
    for number, ranges in by_layer.items():
        operation = found[number][1]
        state = operation.quantization
        state.ranges = {x.spec.name: x for x in ranges}
        if isinstance(operation, keras.Layer):
            _track(operation, ranges)
        else:
            loose += ranges
    if loose:
        _track(model, loose)
    for into, number in plan.folded:
        product, layer = found[into][1], found[number][1]
        if isinstance(layer, keras.layers.BatchNormalization):
            product.quantization.normalization = layer
            layer.quantization.is_folded = True


def _track(layer: keras.Layer, ranges: list[Range]) -> None:
    """Saves ranges with a layer that was built without them."""
    layer._tracker.unlock()
    layer.quantization_ranges = ranges
    layer._tracker.lock()
