"""Gradual unfreezing: from the head downwards, a layer a stage."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

import keras

from kbig.errors import UsageError
from kbig.models.arguments import check_positive
from kbig.tuning.methods import Tuning
from kbig.tuning.structure import parameters
from kbig.tuning.structure import select
from kbig.tuning.structure import weight_names


@dataclasses.dataclass(frozen=True)
class Stage:
    """Some epochs during which the same layers are trained.

    Args:
        layers: names of the layers that are trained.
        initial_epoch: epochs done before, as `fit` takes it.
        epochs: epochs done afterwards, as `fit` takes it.
    """

    layers: tuple[str, ...]
    initial_epoch: int
    epochs: int


def unfreeze(model: keras.Model, layers: Sequence[str]) -> int:
    """Makes some layers trainable and freezes all others.

    A layer that is frozen costs no gradient. Compile the model afterwards:
    Keras asks which weights to train when it first trains.

    Args:
        model: changed in place.
        layers: names among `model.layers`.

    Returns:
        The parameters that are trainable now.

    Raises:
        UsageError: the model has no layer of a name.

    Example:
    ```python
    unfreeze(model, tuning.stages[0] + tuning.stages[1])
    ```
    """
    present = {layer.name: layer for layer in model.layers}
    unknown = [name for name in layers if name not in present]
    if unknown:
        raise UsageError(
            f"`model` has no layers of these names. Received: {unknown}. "
            f"Pass some of {', '.join(present)}."
        )
    own: dict[int, str] = {}
    # The first layer that holds a weight decides: a head may share one.
    for layer in model.layers:
        for weight in layer.weights:
            own.setdefault(id(weight), layer.name)
    select(
        model,
        [n for n, v in weight_names(model).items() if own[id(v)] in layers],
    )
    return parameters(model.trainable_variables)


def plan_stages(
    stages: Sequence[Sequence[str]], epochs: int
) -> tuple[Stage, ...]:
    """Shares epochs among the stages of gradual unfreezing.

    The head is trained alone first, then a further group each epoch; all
    epochs that are left belong to the last stage. With fewer epochs than
    groups, the groups below the head come several at a time, evenly.

    Args:
        stages: `Tuning.stages`: the layers that each stage adds.
        epochs: in all; two at least, when there are several stages.

    Returns:
        Stages of one epoch or more, whose layers grow.

    Raises:
        UsageError: there are too few epochs.

    Example:
    ```python
    plan_stages((("logits",), ("transformer_layer_0",)), epochs=5)
    # (Stage(("logits",), 0, 1),
    #  Stage(("logits", "transformer_layer_0"), 1, 5))
    ```

    Reference:
     - [Howard and Ruder, 2018](https://arxiv.org/abs/1801.06146)
    """
    check_positive("epochs", epochs)
    if len(stages) > 1 and epochs < 2:
        raise UsageError(
            "Gradual unfreezing needs an epoch for the head alone, and one "
            f"for the rest. Received: epochs={epochs}. Pass 2 or more."
        )
    count = min(len(stages), epochs)
    below = len(stages) - 1
    plan = []
    for number in range(count):
        # Of the groups below the head, this many are open by now.
        opened = round(below * number / max(count - 1, 1))
        layers = tuple(name for x in stages[: opened + 1] for name in x)
        is_last = number == count - 1
        plan.append(Stage(layers, number, epochs if is_last else number + 1))
    return tuple(plan)


def fit_in_stages(
    tuning: Tuning,
    epochs: int,
    compile: Callable[[keras.Model, Stage], None],
    fit: Callable[..., keras.callbacks.History],
) -> dict[str, list[float]]:
    """Fine-tunes stage by stage, compiling the model anew for each.

    Args:
        tuning: from `prepare`. Methods without stages have a single one.
        epochs: in all.
        compile: called with the model and the stage. It must make a new
            optimizer: one that has trained knows its variables.
        fit: called with `initial_epoch` and `epochs`; trains the model.

    Returns:
        The values of each epoch, all stages together, as of
        `History.history`.

    Raises:
        UsageError: there are too few epochs.

    Example:
    ```python
    tuning = prepare(model, "gradual")
    history = fit_in_stages(
        tuning,
        4,
        lambda model, stage: model.compile(adamw(1e-3), loss),
        lambda **epochs: tuning.model.fit(train, **epochs),
    )
    ```
    """
    history: dict[str, list[float]] = {}
    for stage in plan_stages(tuning.stages, epochs):
        if tuning.method == "gradual":
            unfreeze(tuning.model, stage.layers)
        compile(tuning.model, stage)
        done = fit(initial_epoch=stage.initial_epoch, epochs=stage.epochs)
        for name, values in done.history.items():
            history.setdefault(name, []).extend(values)
        if tuning.model.stop_training:
            break
    return history
