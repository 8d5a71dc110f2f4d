"""`quantize_aware`: a copy of a model that is trained for integers."""

import contextlib
import functools
from collections.abc import Iterable

import keras

from kbig.compression.quantization import attach
from kbig.compression.quantization import checks
from kbig.compression.quantization import modes
from kbig.compression.quantization.ranges import OBSERVERS
from kbig.compression.quantization.ranges import Observation
from kbig.compression.quantization.ranges import Progress
from kbig.compression.quantization.ranges import Range
from kbig.compression.quantization.ranges import state_variable
from kbig.compression.quantization.table import float_class
from kbig.models import copies
from kbig.models.arguments import check_choice
from kbig.models.layers import unrolled

_PACKAGE, _NAME = "kbig", "QuantizedModel"


def quantize_aware(
    model: keras.Model,
    sample,
    *,
    bits: int = 8,
    skip: Iterable[str] = (),
    islands: bool = True,
    observer: str = "ema",
    momentum: float = 0.99,
    delay: int = 0,
    freeze_after: int | None = None,
) -> keras.Model:
    """Copies a model so that training it prepares it for int8.

    The copy has the weights of the model, and computes as integer kernels
    will: weights are rounded to a grid of their channel, the tensors between
    layers to a grid of their own. Gradients pass the rounding. Compile it,
    train it for a little with a small learning rate, and export it with
    `kbig.export.litert(model, path, mode="int8")`.

    Args:
        model: built, Functional, Sequential, or of a class with a
            configuration, such as a task of KerasHub; layers within layers
            are quantized, too.
        sample: rows like those it will be given, an array or a structure of
            arrays `(rows, ...)`. The first ranges are those seen in them; 100
            rows do.
        bits: of weights, 8 or 4.
        skip: patterns of names of layers that stay in float.
        islands: compute what is within a layer normalization, and a softmax
            between attention heads, in float: on a CPU that is both closer to
            the float model and faster. False is for hardware that has
            nothing but integers.
        observer: of ranges in training: "ema" moves to the extremes of each
            batch, "percentile" to what all but 1 in 1,000 values lie within,
            "min_max" only ever widens.
        momentum: share of the old range in the new one at each step.
        delay: steps of training in float, before anything is rounded.
        freeze_after: steps of training after which ranges stay.

    Returns:
        A new model of the same kind. It is not compiled.

    Raises:
        UsageError: the model is not built, holds layers that are not known,
            or is quantized; the sample does not fit, is empty, constant or
            not finite; an argument is out of range. `model` is not changed.

    Example:
    ```python
    model = kbig.models.cnn((28, 28, 1), num_classes=10)
    quantized = kbig.compression.quantize_aware(model, x[:100])
    quantized.compile("adam", loss)
    quantized.fit(x, y)
    kbig.export.litert(quantized, "model.tflite", mode="int8", samples=x)
    ```

    Reference:
     - [Jacob et al., 2018](https://arxiv.org/abs/1712.05877)
    """
    check_choice("observer", observer, OBSERVERS)
    check_choice("bits", bits, (4, 8))
    checks.check_momentum(momentum)
    checks.check_steps("delay", delay)
    if freeze_after is not None:
        checks.check_steps("freeze_after", freeze_after)
    checks.check_model(model, is_quantized(model))
    sample = checks.batches(model, sample)
    found = attach.operations(model)
    skipped = attach.skipped_layers(found, skip)
    attach.check_known(found, skipped)
    observation = Observation(observer, momentum, delay, freeze_after)
    plan = attach.QuantizationPlan(
        bits, islands, skipped, observation=observation
    )
    config, classes = copies.serialized(model), copies.own_classes(model)
    twin = copies.built(copies.with_float32_policies(config), classes)
    twin.set_weights(model.get_weights())
    copies.settle(twin)
    plan = attach.discover(twin, sample[0], plan)
    quantized = _built(config, plan, classes)
    _take_weights(quantized, model)
    for rows in sample:
        with modes.entered(modes.Calibration()):
            quantized(rows, training=False)
    checks.check_ranges(quantized)
    return quantized


def is_quantized(model: keras.Model) -> bool:
    """Whether a model was made by `quantize_aware`, or loaded as such."""
    return isinstance(model, _Quantized)


@keras.saving.register_keras_serializable(_PACKAGE, _NAME)
class _Quantized:
    """What a quantized model has beside its own class: a mode to run in."""

    def call(self, *args, **kwargs):
        if modes.current() is not None:
            return self.float_call(*args, **kwargs)
        exported = self.quantization.exported
        mode = exported() if exported else modes.Training(self._progress())
        with modes.entered(mode):
            return self.float_call(*args, **kwargs)

    def _progress(self) -> Progress:
        training = bool(self._get_call_context().get_value("training"))
        observation = self.quantization.plan.observation
        if not observation.counts:
            return Progress(training)
        steps = self.quantization_steps
        if training:
            steps.assign(steps + 1.0)
        limit = observation.freeze_after
        return Progress(
            training,
            steps > observation.delay if observation.delay else None,
            steps > limit if limit is not None else None,
        )

    def float_call(self, *args, **kwargs):
        return self.float_class.call(self, *args, **kwargs)

    def as_integers(self):
        """Traces within it have grids as constants, as a converter needs."""
        return self._as_exported(modes.Export)

    def as_floats(self):
        """Traces within it compute the same without rounding."""
        return self._as_exported(modes.FloatExport)

    @contextlib.contextmanager
    def _as_exported(self, mode):
        self.quantization.exported = mode
        try:
            with unrolled(self):
                yield
        finally:
            self.quantization.exported = None

    def get_config(self):
        state = self.quantization
        return {
            "model": state.config,
            "plan": state.plan.to_config(),
            "frozen": [
                number
                for number, (_, layer) in enumerate(attach.operations(self))
                if not getattr(layer, "trainable", True)
            ],
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        plan = attach.QuantizationPlan.from_config(config["plan"])
        model = _built(config["model"], plan, custom_objects)
        layers = attach.operations(model)
        for number in config["frozen"]:
            layers[number][1].trainable = False
        return model


class _ModelState:
    """The float model and what makes a quantized one of it."""

    def __init__(self, config: dict, plan: attach.QuantizationPlan):
        self.config = config
        self.plan = plan
        # The mode that a trace for a file is in.
        self.exported = None


def _built(config: dict, plan, classes=None) -> keras.Model:
    model = copies.built(config, classes)
    attach.attach(model, plan)
    model.__class__ = _quantized_class(float_class(model))
    vars(model)["quantization"] = _ModelState(config, plan)
    if plan.observation.counts:
        model._tracker.unlock()
        model.quantization_steps = state_variable("quantization_steps")
        model._tracker.lock()
    return model


@functools.cache
def _quantized_class(base: type) -> type:
    members = {
        "float_class": base,
        "__doc__": base.__doc__,
        "__module__": __name__,
        "call": functools.wraps(base.call)(_Quantized.call),
    }
    made = type(f"Quantized{base.__name__}", (_Quantized, base), members)
    # One name for all of them: what is in a file tells which one it is.
    return keras.saving.register_keras_serializable(_PACKAGE, _NAME)(made)


def _take_weights(quantized, model) -> None:
    """Ranges, which the model does not have, are left as they are."""
    added = {
        id(weight)
        for layer in quantized._flatten_layers()
        if isinstance(layer, Range)
        for weight in layer.weights
    }
    added.add(id(getattr(quantized, "quantization_steps", None)))
    own = [weight for weight in quantized.weights if id(weight) not in added]
    for weight, value in zip(own, model.weights, strict=True):
        weight.assign(value)
    copies.settle(quantized)
