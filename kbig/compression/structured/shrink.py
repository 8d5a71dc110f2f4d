"""Structured pruning: whole units are removed, the model becomes smaller."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from kbig.compression.structured.amounts import amount_of
from kbig.compression.structured.backbone import encoders_of
from kbig.compression.structured.depth import check_chain
from kbig.compression.structured.depth import kept_layers
from kbig.compression.structured.depth import without_layers
from kbig.compression.structured.importance import check_importance
from kbig.compression.structured.ledger import FLOPS
from kbig.compression.structured.ledger import PARAMETERS
from kbig.compression.structured.notes import notes_of
from kbig.compression.structured.plan import ShrinkPlan
from kbig.compression.structured.rebuild import Copy
from kbig.compression.structured.rebuild import edited
from kbig.compression.structured.subject import Subject
from kbig.models.arguments import check_positive


def plan_shrink(
    model: keras.Model,
    keep: float | Mapping[str, float | int] | None = None,
    *,
    parameters: float | int | None = None,
    flops: float | int | None = None,
    layers: str | Sequence[str] | None = None,
    importance: str | Mapping[str, Sequence[float]] | Callable = "magnitude",
    batches: Iterable | None = None,
    loss: str | Callable | None = None,
    encoder_layers: int | Sequence[int] | None = None,
    multiple: int = 1,
    free_dimension: int = 128,
) -> ShrinkPlan:
    """Chooses units to remove, and says what that would leave.

    A unit is an output channel of a convolution, a unit of a Dense or a
    recurrent layer, a channel of an Embedding, an attention head, or a unit
    inside the feed-forward part of a transformer block. It is removed with
    all that reads it and all that goes along with it: batch normalization,
    gates, the channels that a residual connection adds to it. What the
    outputs of the model consist of stays; so does what is read by a layer
    that no rule is known for, and the width of transformers, which layer
    normalization couples. The plan says so.

    Args:
        model: Functional or Sequential, built. It stays as it is.
        keep: the fraction of each group's units to keep, in (0, 1]; or by
            pattern of layer names a fraction, or an int for the number of
            units: 1 is one unit, 1.0 all. The first pattern that matches a
            layer counts; what matches none is left alone. At least one unit
            of a layer stays.
        parameters: instead of `keep`, what the smaller model may have: a
            fraction of the model's, or an int for their number. The units
            that matter least for what they cost go first, wherever they are:
            a unit counts for its share of the importance that is left in its
            group.
        flops: likewise, of floating point operations.
        layers: patterns of the names of layers that may be shrunk. Layers
            whose units go together are, if all of them match.
        importance: "magnitude" is the L2 norm of the weights that produce a
            unit. "taylor" is the change of the loss without it, to first
            order. Otherwise scores, at least 0, by path of a layer, or what
            gives them for a layer. Units that go together have the mean.
        batches: of `(x, y)`, for "taylor".
        loss: for "taylor", of a model with one output, or a function of all
            of them; None is what it was compiled with.
        encoder_layers: how many transformer blocks to keep, evenly spaced
            from the first to the last; or which, from 0. All must form one
            chain. They are numbered anew, and then shrunk by `keep` or the
            budget, if any is given.
        multiple: what the number of units that stay should be one of, as the
            kernels that run the model take them by 8 or 16 at a time and the
            last ones cost as much as a full load. Groups of fewer than twice
            as many units, and heads, are not rounded.
        free_dimension: what a dimension that the model leaves free counts
            as in FLOPs: steps of a sequence, height and width of an image.

    Returns:
        A report; its `apply` builds the smaller model.

    Raises:
        UsageError: an argument is out of its range, a pattern matches
            nothing, a budget cannot be reached, the model has no graph, or
            units are judged by weights that are not finite.

    Example:
    ```python
    plan = plan_shrink(kbig.models.mlp((4,), 2), keep=0.5)
    print(plan)
    smaller = plan.apply()
    ```

    Reference:
     - [Li et al., 2017](https://arxiv.org/abs/1608.08710), magnitude
     - [Molchanov et al., 2019](https://arxiv.org/abs/1906.10771), Taylor
     - [Michel et al., 2019](https://arxiv.org/abs/1905.10650), heads
    """
    if encoder_layers is not None and keep is parameters is flops is None:
        keep = 1.0
    amount = amount_of(keep, parameters, flops)
    check_importance(importance, batches, loss)
    check_positive("multiple", multiple)
    check_positive("free_dimension", free_dimension)
    original = subject = Subject.of(model, free_dimension)
    cut, encoders = None, ()
    if encoder_layers is not None:
        cut, encoders = _cut(model, encoder_layers)
        subject = Subject.of(cut.model, free_dimension)
    groups, kept_whole = subject.groups(layers, multiple)
    scores = subject.scores(importance, batches, loss, groups)
    removed = amount.removed(original, subject, groups, scores)
    before, after = original.ledger(), subject.ledger(removed)
    surgery = subject.surgery(model, cut, removed)
    return ShrinkPlan(
        importance if isinstance(importance, str) else "given",
        before.total(PARAMETERS),
        after.total(PARAMETERS),
        before.total(FLOPS),
        after.total(FLOPS),
        encoders,
        tuple(subject.shrunk(x, removed) for x in groups),
        kept_whole,
        notes_of(surgery),
        surgery,
    )


def shrink(model: keras.Model, *args, **kwargs) -> keras.Model:
    """Removes units from a model: `plan_shrink(...).apply()`.

    Args:
        model: Functional or Sequential, built. It stays as it is.
        *args: as of `plan_shrink`.
        **kwargs: as of `plan_shrink`.

    Returns:
        A new, smaller model with the weights that are left; it is not
        compiled. Where what was removed contributed nothing, it computes the
        same. It is a Sequential model if `model` is one, a BertBackbone if
        `model` is one and its blocks still are alike, otherwise Functional,
        also of a class that derives from that.

    Raises:
        UsageError: as of `plan_shrink`.

    Example:
    ```python
    smaller = shrink(kbig.models.cnn((8, 8, 1), 2), flops=0.5)
    ```
    """
    return plan_shrink(model, *args, **kwargs).apply()


def _cut(model, encoder_layers) -> tuple[Copy, tuple[str, ...]]:
    encoders = encoders_of(model)
    kept = kept_layers(encoder_layers, len(encoders))
    check_chain(model, encoder_layers)
    cut = edited(model, without_layers(model, kept))
    cut.assign()
    return cut, tuple(encoders[x].name for x in kept)
