"""Methods of fine-tuning: which weights are trained, and which are added."""

import dataclasses
import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from kbig.errors import UsageError
from kbig.models.arguments import check_choice
from kbig.reporting.report import Report
from kbig.reporting.tables import Percent
from kbig.reporting.tables import Table
from kbig.tuning.adapters import AdaptedEncoder
from kbig.tuning.adapters import with_adapters
from kbig.tuning.lora import LoraEncoder
from kbig.tuning.lora import with_lora
from kbig.tuning.options import checked_options
from kbig.tuning.structure import parameters
from kbig.tuning.structure import roles
from kbig.tuning.structure import select
from kbig.tuning.structure import weight_names

# What each method trains below the head, which all of them train.
_TRAINED = {
    "full": r"",
    "frozen": r"(?!)",
    "gradual": r"(?!)",
    "layerwise": r"",
    "lora": r"/lora_[ab]$",
    "houlsby": r"/adapter_(down|up)/|/(gamma|beta)$",
    "pfeiffer": r"/adapter_(down|up)/",
    "bitfit": r"/(bias|beta)$",
}
METHODS = tuple(_TRAINED)


@dataclasses.dataclass(frozen=True, eq=False)
class Tuning(Report):
    """A model ready to be fine-tuned by some method.

    Args:
        model: to compile and fit. LoRA and adapters are in a new model with
            copied weights; the other methods take the one they were given.
        method: among `METHODS`.
        trainable: parameters that training will change, at the first stage.
        total: parameters of the model, those added included.
        learning_rate_multipliers: factors of the learning rate by regular
            expressions on `variable.path`; empty unless "layerwise".
        stages: names of the layers that are trained from the first stage on,
            from the second on, and so forth; one stage unless "gradual".
        options: what the method was prepared with.
    """

    model: keras.Model
    method: str
    trainable: int
    total: int
    learning_rate_multipliers: Mapping[str, float]
    stages: tuple[tuple[str, ...], ...]
    options: Mapping[str, object]

    def tables(self) -> list[Table]:
        """Returns one table: the method, its options and its counts."""
        rows = [
            ("method", self.method),
            *((key, _text(value)) for key, value in self.options.items()),
            ("trainable parameters", self.trainable),
            ("total parameters", self.total),
            ("share", Percent(self.trainable / self.total)),
        ]
        if len(self.stages) > 1:
            rows.append(("stages, each with more", len(self.stages)))
        return [Table("Fine-tuning", ("field", "value"), rows)]

    def to_dict(self) -> dict:
        """Returns the fields as plain values, the model left out."""
        names = [field.name for field in dataclasses.fields(self)]
        fields = {name: getattr(self, name) for name in names}
        del fields["model"]
        fields["share"] = self.trainable / self.total
        for name in ("learning_rate_multipliers", "options"):
            fields[name] = dict(fields[name])
        fields["stages"] = [list(stage) for stage in self.stages]
        return fields


def prepare(
    model: keras.Model,
    method: str = "full",
    *,
    rank: int = 8,
    alpha: float | None = None,
    projections: Sequence[str] = ("query", "value"),
    adapter_dim: int = 64,
    decay: float = 0.9,
) -> Tuning:
    """Prepares a model for fine-tuning: what is trained, what is added.

    Under a distribution strategy call it in its scope. "full", "frozen",
    "gradual", "layerwise" and "bitfit" change which weights of `model` are
    trainable, and may follow each other; compile the model afterwards. Keras's
    files do not keep which weights are: prepare the model again when it is
    loaded. LoRA and adapters are kept, and know what is trainable in them.

    Args:
        model: from `bert_classifier` or `bert_token_classifier`.
        method: "full" trains all weights. "frozen" trains the head. "gradual"
            begins with the head and goes down a layer a stage, see
            `fit_in_stages`. "layerwise" trains all, each layer at `decay`
            times the learning rate of the one above. "lora" adds low-rank
            updates of kernels, "houlsby" and "pfeiffer" add adapters.
            "bitfit" trains the biases, those of layer norms included.
        rank: of "lora", at most the width of the model.
        alpha: of "lora"; the updates are scaled by `alpha / rank`. None is
            `rank`.
        projections: of "lora", among "query", "key", "value", "output",
            "intermediate" and "feedforward_output".
        adapter_dim: width of adapters' bottlenecks.
        decay: of "layerwise", in (0, 1].

    Returns:
        The model and what was decided. It prints as a table.

    Raises:
        UsageError: an argument is out of range, the model holds no BERT, or
            has LoRA or adapters already. Nothing was changed then.

    Example:
    ```python
    tuning = prepare(bert_classifier(bert("tiny"), 3), "lora", rank=4)
    print(tuning)
    tuning.model.compile("adam", loss)
    ```

    Reference:
     - gradual: [Howard and Ruder, 2018](https://arxiv.org/abs/1801.06146)
     - lora: [Hu et al., 2021](https://arxiv.org/abs/2106.09685)
     - houlsby: [Houlsby et al., 2019](https://arxiv.org/abs/1902.00751)
     - pfeiffer: [Pfeiffer et al., 2020](https://arxiv.org/abs/2005.00247)
     - bitfit: [Zaken et al., 2022](https://arxiv.org/abs/2106.10199)
    """
    check_choice("method", method, METHODS)
    _check_plain(model, method)
    options = checked_options(
        method,
        roles(model).encoders[0],
        rank=rank,
        alpha=rank if alpha is None else alpha,
        projections=projections,
        adapter_dim=adapter_dim,
        decay=decay,
    )
    if adds_layers(method):
        model = _ADDED[method](model, **options)
    select(model, trained_names(model, method))
    return Tuning(
        model=model,
        method=method,
        trainable=parameters(model.trainable_variables),
        total=parameters(weight_names(model).values()),
        learning_rate_multipliers=(
            _multipliers(model, decay) if method == "layerwise" else {}
        ),
        stages=_stages(model, method),
        options=options,
    )


def trained_names(model: keras.Model, method: str) -> tuple[str, ...]:
    """Names the weights that a method trains, at its first stage.

    Args:
        model: with what the method adds.
        method: among `METHODS`.

    Returns:
        Names as of `weight_names`.
    """
    parts = roles(model)
    below = {
        id(weight)
        for layer in (*parts.embeddings, *parts.encoders, *parts.pooler)
        for weight in layer.weights
    }
    return tuple(
        name
        for name, weight in weight_names(model).items()
        if id(weight) not in below or re.search(_TRAINED[method], name)
    )


def adds_layers(method: str) -> bool:
    """Tells whether a method makes a new model instead of freezing.

    Args:
        method: among `METHODS`.

    Returns:
        True for LoRA and adapters.
    """
    return method in _ADDED


_ADDED: dict[str, Callable[..., keras.Model]] = {
    "lora": with_lora,
    "houlsby": lambda model, adapter_dim: with_adapters(
        model, adapter_dim, "houlsby"
    ),
    "pfeiffer": lambda model, adapter_dim: with_adapters(
        model, adapter_dim, "pfeiffer"
    ),
}


def _stages(model, method):
    parts = roles(model)
    names = tuple(
        tuple(layer.name for layer in group)
        for group in (
            parts.head,
            (*parts.pooler, parts.encoders[-1]),
            *((encoder,) for encoder in parts.encoders[-2::-1]),
            parts.embeddings,
        )
        if group
    )
    if method == "gradual":
        return names
    trained = {id(weight) for weight in model.trainable_variables}
    return (
        tuple(
            layer.name
            for layer in model.layers
            if trained & {id(weight) for weight in layer.weights}
        ),
    )


def _multipliers(model, decay):
    parts = roles(model)
    groups = [parts.pooler, *((x,) for x in parts.encoders[::-1])]
    factors = {}
    # The pooler stands at the top of the encoder: it shares a factor with it.
    for depth, group in enumerate((*groups, parts.embeddings)):
        for layer in group:
            pattern = rf"(^|/){re.escape(layer.name)}/"
            factors[pattern] = decay ** max(depth, 1)
    return factors


def _check_plain(model, method) -> None:
    encoders = roles(model).encoders
    if adds_layers(method) and any(hasattr(x, "ranks") for x in encoders):
        raise UsageError(
            "LoRA and adapters are added to encoders whose projections are "
            f"whole. Received: method={method!r}, model={model.name!r} with "
            f"layers of the class {type(encoders[-1]).__name__}. Train the "
            'thin layers themselves, by "full", or factorize afterwards.'
        )
    if any(isinstance(x, LoraEncoder | AdaptedEncoder) for x in encoders):
        raise UsageError(
            "`model` has LoRA or adapters already. Received: "
            f"model={model.name!r} with layers of the class "
            f"{type(encoders[-1]).__name__}. Pass the model it was made from, "
            "or what `merged` makes of LoRA."
        )


def _text(value):
    return ", ".join(value) if isinstance(value, list | tuple) else value
