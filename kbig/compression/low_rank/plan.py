"""Low rank: matrices replaced by the product of two thin ones."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from kbig.compression.low_rank.choice import chosen_ranks
from kbig.compression.low_rank.notes import notes_of
from kbig.compression.low_rank.options import check_criterion
from kbig.compression.low_rank.options import check_model
from kbig.compression.low_rank.options import criterion_text
from kbig.compression.low_rank.sites import parameters_of
from kbig.compression.low_rank.sites import sites
from kbig.compression.low_rank.surgery import factorized
from kbig.reporting.report import Report
from kbig.reporting.tables import Percent
from kbig.reporting.tables import Table


@dataclasses.dataclass(frozen=True)
class LayerRank:
    """What becomes of one matrix.

    Args:
        name: names of the layers that lead to it, joined with "/".
        kind: class of the layer that holds it.
        rank: of the product; None for a layer that is kept whole.
        parameters_before: numbers in the matrix.
        parameters_after: numbers in its factors.
        relative_error: Frobenius norm of the difference between the matrix
            and the product, as a share of that of the matrix.
        kept: why it is kept whole; empty otherwise.
    """

    name: str
    kind: str
    rank: int | None
    parameters_before: int
    parameters_after: int
    relative_error: float
    kept: str


@dataclasses.dataclass(frozen=True, eq=False)
class FactorizationPlan(Report):
    """What `factorize` does to a model, before it does it.

    Args:
        model: that it was made for.
        criterion: by what the ranks were chosen.
        layers: every layer that holds a matrix, in the order of the model.
        parameters_before: numbers in all weights of the model.
        parameters_after: numbers in all weights of the smaller model.
        notes: what it needs to be loaded, and what it loses.
    """

    model: keras.Model
    criterion: str
    layers: tuple[LayerRank, ...]
    parameters_before: int
    parameters_after: int
    notes: tuple[str, ...] = ()

    @property
    def ranks(self) -> dict[str, int]:
        """Ranks by the names of the layers that are replaced."""
        return {x.name: x.rank for x in self.layers if x.rank is not None}

    def apply(self) -> keras.Model:
        """Builds the smaller model, from the weights as they are now.

        Under a distribution strategy call it in its scope.

        Returns:
            A new model that is not compiled; the given one is as it was.

        Raises:
            UsageError: Keras cannot rebuild the model from its configuration
                with the same weights.
        """
        return factorized(self.model, self.ranks, self.parameters_after)

    def tables(self) -> list[Table]:
        """Returns one table: the layers, and the whole model below."""
        rows = [
            (
                layer.name,
                layer.kind,
                layer.rank,
                layer.parameters_before,
                layer.parameters_after,
                layer.relative_error,
                layer.kept,
            )
            for layer in self.layers
        ]
        share = Percent(self.parameters_after / self.parameters_before)
        rows.append(
            (
                "the whole model",
                "",
                None,
                self.parameters_before,
                self.parameters_after,
                None,
                "",
            )
        )
        left = f"{share * 100:.1f} % of the parameters are left."
        return [
            Table(
                f"Low rank by {self.criterion}",
                (
                    "layer",
                    "kind",
                    "rank",
                    "parameters",
                    "then",
                    "relative error",
                    "kept whole",
                ),
                rows,
                " ".join((left, *self.notes)),
            )
        ]

    def to_dict(self) -> dict:
        """Returns the fields as plain values, the model left out."""
        return {
            "criterion": self.criterion,
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
            "parameters_before": self.parameters_before,
            "parameters_after": self.parameters_after,
            "notes": list(self.notes),
        }


def plan_factorization(
    model: keras.Model,
    *,
    rank: int | Mapping[str, int] | None = None,
    energy: float | None = None,
    parameters: float | int | None = None,
    layers: str | Sequence[str] | None = None,
) -> FactorizationPlan:
    """Chooses which matrices to replace by thin factors, and at what rank.

    Dense, EinsumDense and Embedding layers are candidates, those of nested
    models and of KerasHub's TransformerEncoder included. Each is replaced
    only where that saves parameters: `rank * (rows + columns)` less than
    `rows * columns`. Pass exactly one of `rank`, `energy` and `parameters`.

    Args:
        model: a built Functional or Sequential model; stays as it is.
        rank: of every matrix, or ranks by name patterns. The first that
            matches counts, and what none matches is kept.
        energy: in (0, 1]: each matrix gets the least rank whose squared
            singular values sum to this share of all of its own.
        parameters: of the whole model afterwards: a share of those it has,
            below 1, or their number. Ranks are chosen greedily, so that the
            least share of a matrix's energy is lost for each parameter
            saved, see `budget_ranks`.
        layers: name patterns, as "encoder_*", of layers or of parts of their
            paths; None takes all. Paths are as in the report, such as
            "rnn/outputs" or "encoder_0/self_attention_layer/query".

    Returns:
        What is replaced and what is kept, and why. It prints as a table;
        `apply` makes the smaller model.

    Raises:
        UsageError: not exactly one criterion, or one out of its range; a
            budget below what ranks of one leave; a pattern that matches no
            layer; a model that is not built, is of another kind, or has
            weights that are not finite.

    Example:
    ```python
    model = kbig.models.mlp((784,), 10, hidden_dims=(512, 512))
    plan = plan_factorization(model, parameters=0.5)
    print(plan)
    smaller = plan.apply()
    smaller.compile("adam", loss)
    ```

    Reference:
     - [Eckart and Young, 1936](https://doi.org/10.1007/BF02288367)
     - [Sainath et al., 2013](https://doi.org/10.1109/ICASSP.2013.6638949)
    """
    check_criterion(rank, energy, parameters)
    check_model(model)
    found = sites(model)
    before = parameters_of(model)
    choices = chosen_ranks(
        found,
        before,
        rank=rank,
        energy=energy,
        parameters=parameters,
        layers=layers,
    )
    ranks = tuple(
        LayerRank(
            name=site.name,
            kind=type(site.layer).__name__,
            rank=choice.rank,
            parameters_before=site.parameters,
            parameters_after=site.parameters - choice.saved,
            relative_error=choice.relative_error,
            kept=choice.kept,
        )
        for site, choice in zip(found, choices)
    )
    return FactorizationPlan(
        model=model,
        criterion=criterion_text(rank, energy, parameters),
        layers=ranks,
        parameters_before=before,
        parameters_after=before - sum(choice.saved for choice in choices),
        notes=notes_of(
            model,
            [x for x, y in zip(found, choices) if y.rank is not None],
        ),
    )


def factorize(
    model: keras.Model,
    *,
    rank: int | Mapping[str, int] | None = None,
    energy: float | None = None,
    parameters: float | int | None = None,
    layers: str | Sequence[str] | None = None,
) -> keras.Model:
    """Replaces matrices by the nearest products of two thin ones.

    A layer "x" becomes "x_in", which has the input and the rank, and "x",
    which has the bias, the activation and the name, so that what refers to
    the output of "x" still does. Both have the data type, the regularizers
    and the trainability of the whole. They are Keras's own layers, except
    inside KerasHub's encoders, which become `FactorizedEncoder`s, and BERT's
    token embedding, which becomes a `FactorizedEmbedding`.

    Args:
        model: as of `plan_factorization`.
        rank: as of `plan_factorization`.
        energy: as of `plan_factorization`.
        parameters: as of `plan_factorization`.
        layers: as of `plan_factorization`.

    Returns:
        A new model that is not compiled: fine-tune it. It computes what
        `model` does as far as nothing is lost at these ranks.

    Raises:
        UsageError: as of `plan_factorization` and `FactorizationPlan.apply`.

    Example:
    ```python
    smaller = factorize(model, energy=0.9, layers="feedforward*")
    smaller.compile("adam", loss)
    smaller.fit(train, epochs=2)
    ```
    """
    return plan_factorization(
        model, rank=rank, energy=energy, parameters=parameters, layers=layers
    ).apply()
