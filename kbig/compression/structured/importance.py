"""How much each unit matters: one score a class of units that go together."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np

from kbig.compression.structured.flow import CONSUMES
from kbig.compression.structured.flow import PRODUCES
from kbig.compression.structured.flow import Source
from kbig.compression.structured.trace import Trace
from kbig.compression.structured.units import Classes
from kbig.errors import UsageError
from kbig.models.arguments import check_choice

METHODS = ("magnitude", "taylor")


def magnitudes(trace: Trace) -> dict[str, np.ndarray]:
    """The L2 norm of all weights that produce a unit, its bias included.

    Args:
        trace: of the model.

    Returns:
        float64 `(units,)` by the path of the layer that makes them.

    Reference:
     - [Li et al., 2017](https://arxiv.org/abs/1608.08710)
    """
    squares = {
        path: np.zeros(len(source.units))
        for path, source in trace.sources.items()
    }
    for use in trace.uses:
        if use.role == PRODUCES and use.path in squares:
            weights = np.asarray(use.variable, "float64")
            sums = np.moveaxis(weights, use.axis, 0)
            sums = (sums.reshape(len(sums), -1) ** 2).sum(axis=1)
            # A recurrent unit has an entry in each gate.
            first = trace.sources[use.path].units[0]
            squares[use.path] += np.bincount(
                use.units - first, sums, minlength=len(squares[use.path])
            )
    return {path: np.sqrt(x) for path, x in squares.items()}


def check_finite(trace: Trace) -> None:
    """Raises unless every weight that has units is finite.

    Args:
        trace: of the model.

    Raises:
        UsageError: there is NaN or infinity in one.
    """
    for use in {id(x.variable): x for x in trace.uses}.values():
        if not np.isfinite(np.asarray(use.variable, "float64")).all():
            raise UsageError(
                "A weight of `model` is not finite, so that it says nothing "
                f"about units. Received: {use.variable.name} of {use.path} "
                "with NaN or infinity. Take weights from before training "
                "diverged."
            )


def given(
    sources: Iterable[Source],
    importance: Mapping[str, Sequence[float]] | Callable,
) -> dict[str, np.ndarray]:
    """Scores of the caller's own.

    Args:
        sources: the layers that make units.
        importance: by the path of a layer one number a unit; or what gives
            them for a layer, or None.

    Returns:
        float64 `(units,)` by path, of the layers that have any.

    Raises:
        UsageError: a name is unknown, or a shape or a number is wrong.
    """
    by_path = {source.path: source for source in sources}
    if callable(importance):
        scores = {x.path: importance(x.layer) for x in by_path.values()}
        scores = {path: x for path, x in scores.items() if x is not None}
    else:
        scores = dict(importance)
    unknown = [path for path in scores if path not in by_path]
    if unknown:
        raise UsageError(
            f"`importance` names layers that have no units of their own. "
            f"Received: {unknown}. Pass some of {', '.join(by_path)}."
        )
    for path, values in scores.items():
        scores[path] = array = np.asarray(values, "float64")
        count = len(by_path[path].units)
        is_valid = array.shape == (count,) and np.isfinite(array).all()
        if not is_valid or array.min() < 0:
            raise UsageError(
                f"`importance` of {path} must be one finite number, at least "
                f"0, for each of its {count} units. Received: shape "
                f"{array.shape}, values {array.ravel()[:5]}. Pass an array of "
                f"shape ({count},)."
            )
    return scores


def averaged(
    scores: Mapping[str, np.ndarray], trace: Trace, classes: Classes
) -> np.ndarray:
    """The mean score of the units that go together.

    Args:
        scores: by path.
        trace: of the model.
        classes: of its units.

    Returns:
        float64 `(classes,)`; NaN where no score was given.
    """
    sums, counts = np.zeros((2, classes.count()))
    for path, values in scores.items():
        members = classes.class_of[trace.sources[path].units]
        np.add.at(sums, members, values)
        np.add.at(counts, members, 1)
    with np.errstate(invalid="ignore"):
        return sums / counts


def taylor(
    model: keras.Model,
    trace: Trace,
    classes: Classes,
    batches: Iterable,
    loss=None,
) -> np.ndarray:
    """How much the loss would change without a unit, to first order.

    It is `|sum(weight * gradient)|` over all weights that read the unit, the
    mean over the batches. That is the derivative of the loss by a factor on
    what the readers are given; so bias, activation and batch normalization in
    between are accounted for. Layers compute as in inference.

    Args:
        model: what was traced.
        trace: of it.
        classes: of its units.
        batches: of `(x, y)` or `(x, y, sample_weight)`.
        loss: of a model with one output, or a function of all of them; None
            is what it was compiled with.

    Returns:
        float64 `(classes,)`.

    Raises:
        UsageError: there is no loss, or it is none of one output; no batch,
            or one without targets; or a gradient is not finite.

    Reference:
     - [Molchanov et al., 2019](https://arxiv.org/abs/1906.10771)
    """
    loss_of = _loss(model, loss)
    uses = [use for use in trace.uses if use.role == CONSUMES]
    variables = list({id(x.variable): x.variable for x in uses}.values())
    total, count = np.zeros(classes.count()), 0
    for batch in batches:
        effects = dict(
            zip(map(id, variables), _effects(loss_of, variables, batch))
        )
        changes = np.zeros(classes.count())
        for use in uses:
            effect = np.moveaxis(effects[id(use.variable)], use.axis, 0)
            effect = effect.reshape(len(effect), -1).sum(axis=1)
            np.add.at(changes, classes.class_of[use.units], effect)
        total += np.abs(changes)
        count += 1
    if not count:
        raise UsageError(
            "Taylor importance needs data. Received: `batches` without a "
            "batch. Pass some of (x, y)."
        )
    if not np.isfinite(total).all():
        raise UsageError(
            "The loss has no finite gradient, so that it says nothing about "
            "units. Received: NaN or infinity from `batches`. Check the data "
            "and the loss."
        )
    return total / count


def _effects(loss_of, variables, batch) -> list[np.ndarray]:
    import tensorflow as tf

    if not isinstance(batch, list | tuple) or len(batch) not in (2, 3):
        raise UsageError(
            "`batches` must give (x, y) or (x, y, sample_weight). Received: "
            f"a {type(batch).__name__}. Pass data with targets."
        )
    values = [variable.value for variable in variables]
    # Variables that are frozen are not watched by themselves.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        result = loss_of(*batch)
    gradients = tape.gradient(
        result, values, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return [
        np.asarray(value, "float64")
        * np.asarray(tf.convert_to_tensor(gradient), "float64")
        for value, gradient in zip(values, gradients)
    ]


def _loss(model, loss):
    if loss is None:
        if not model.compiled:
            raise UsageError(
                "Taylor importance needs a loss. Received: loss=None and a "
                "model that is not compiled. Pass `loss`, or compile it."
            )
        return lambda x, y, w=None: model.compute_loss(
            x, y, model(x, training=False), w, training=False
        )
    function = _one_loss(model, loss)

    def mean_loss(x, y, w=None):
        values = function(y, model(x, training=False))
        return keras.ops.mean(values if w is None else values * w)

    return mean_loss


def _one_loss(model, loss) -> Callable:
    advice = "Pass one loss, or compile the model with them and leave it out."
    # A function of the caller's own may take all outputs at once.
    module = getattr(loss, "__module__", "keras.")
    if len(model.outputs) != 1 and module.startswith("keras."):
        raise UsageError(
            "`loss` is of one output; several outputs have losses that "
            f"`compile` weighs. Received: loss={loss!r} for a model of "
            f"{len(model.outputs)} outputs. {advice}"
        )
    try:
        function = keras.losses.get(loss)
    except (TypeError, ValueError):
        function = None
    if not callable(function):
        raise UsageError(
            "`loss` must be a function, or a name that Keras knows. "
            f"Received: loss={loss!r}. {advice}"
        )
    return function


def check_importance(importance, batches, loss) -> None:
    """Raises unless it is known how to judge units.

    Args:
        importance: as of `plan_shrink`.
        batches: likewise.
        loss: likewise.

    Raises:
        UsageError: it is not known, or data is lacking, or serves nothing.
    """
    if isinstance(importance, str):
        check_choice("importance", importance, METHODS)
    elif not isinstance(importance, Mapping) and not callable(importance):
        raise UsageError(
            '`importance` must be "magnitude", "taylor", a mapping of layers '
            "to scores, or a function of a layer. Received: "
            f"importance={importance!r}. Pass one of them."
        )
    if importance == "taylor" and batches is None:
        raise UsageError(
            "Taylor importance needs data. Received: batches=None. Pass an "
            "iterable of (x, y)."
        )
    if importance != "taylor" and (batches is not None or loss is not None):
        raise UsageError(
            "`batches` and `loss` serve Taylor importance alone. Received: "
            f'them with importance={importance!r}. Pass importance="taylor".'
        )
