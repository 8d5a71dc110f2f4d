"""Makes the model of a run smaller: whole channels, units, heads or layers go.

kbig shrink --from runs/fashion --keep 0.5 --out runs/half
kbig shrink --from runs/topics --flops 0.5 --importance taylor
kbig shrink --from runs/topics --encoder-layers 1

--from is a run of train-image, train-sequence or finetune, or what one of
prune, shrink and factorize made of it. What is left is a plain, smaller model
of the same kind, of fewer operations. It is trained on, on its own data, and
zeros of a pruned run stay zeros; trained beside it for as long, and printed
with it: the original.

The run of `kbig train-image` takes some 2 minutes more on 2 CPU cores; with
--flops 0.5 it reaches 0.894 test accuracy in 0.64 of its time, its control
0.898.
"""

import dataclasses

import kbig
from kbig.errors import UsageError
from recipes import compression
from recipes.config import option

_AMOUNTS = ("keep", "parameters", "flops")
# Enough for the order of the units; more take as much longer.
_TAYLOR_BATCHES = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(compression.Config):
    """Options of `kbig shrink`."""

    keep: float = option(None, "share of the units of each layer to keep")
    parameters: float = option(None, "or: share of the parameters to keep")
    flops: float = option(None, "or: share of the operations to keep")
    layers: tuple[str, ...] = option(
        (), "name patterns, as encoder_*, of the layers to shrink; none is all"
    )
    importance: str = option(
        "magnitude", "by which units are kept", ("magnitude", "taylor")
    )
    multiple: int = option(
        8, "of how many units a layer may keep; runtimes like 8", minimum=1
    )
    encoder_layers: int = option(
        None, "layers of the encoder to keep; default all", minimum=1
    )


def run(config: Config):
    """Shrinks, trains, tests, saves, exports when asked, and reports."""
    given = _given(config)
    if len(given) > 1 or not (given or config.encoder_layers):
        raise UsageError(
            "Pass one of --keep, --parameters and --flops, or "
            "--encoder-layers. Received: "
            f"{compression.flags(given)}."
        )
    return compression.run(config, "shrink", "shrunk", _shrunk)


def _steps(material) -> dict[str, int]:
    """What operations are counted for, where rows are of any length."""
    length = getattr(material.training.config, "sequence_length", 0)
    return {"free_dimension": length} if length else {}


def _given(config: Config) -> list[str]:
    return [name for name in _AMOUNTS if getattr(config, name) is not None]


def _shrunk(material: compression.Material) -> compression.Compression:
    config = material.config
    taylor = {}
    if config.importance == "taylor":
        batches = material.training.batches(material.runtime)
        taylor = {
            "batches": batches.take(_TAYLOR_BATCHES),
            "loss": material.training.loss(),
        }
    plan = kbig.compression.plan_shrink(
        material.original,
        keep=config.keep,
        parameters=config.parameters,
        flops=config.flops,
        layers=config.layers or None,
        importance=config.importance,
        multiple=config.multiple,
        encoder_layers=config.encoder_layers,
        **_steps(material),
        **taylor,
    )
    if plan.parameters_after == plan.parameters:
        raise UsageError(
            "There is nothing to do: every layer stays as it is. Received: "
            f"{compression.flags(_given(config))}. Keep less, or let more "
            "--layers be shrunk."
        )
    return compression.Compression(
        plan.apply(), callbacks=_callbacks(material.original), plan=plan
    )


def _callbacks(original) -> tuple:
    """Keeps the zeros of a pruned model."""
    from kbig.compression.pruning.keep import is_pruned

    if not is_pruned(original):
        return ()
    return (kbig.compression.KeepZeros(),)
