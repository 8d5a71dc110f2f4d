"""What low rank changes beside the numbers of parameters."""

from collections.abc import Sequence

import keras
import numpy as np

from kbig.compression.low_rank.kinds import is_reversible
from kbig.compression.low_rank.kinds import kind_of
from kbig.compression.low_rank.sites import Site
from kbig.compression.low_rank.sites import is_plain_encoder
from kbig.compression.notes import loading_notes
from kbig.compression.pruning.masks import is_sparse


def notes_of(model: keras.Model, replaced: Sequence[Site]) -> tuple[str, ...]:
    """Says what the smaller model needs, and what it loses.

    Args:
        model: that is factorized.
        replaced: the sites that become two thin layers.

    Returns:
        Sentences.
    """
    inside = {
        id(layer)
        for encoder in model._flatten_layers()
        if is_plain_encoder(encoder)
        for layer in encoder._flatten_layers()
    }
    made = set()
    if any(id(site.layer) in inside for site in replaced):
        made.add("FactorizedEncoder")
    if any(is_reversible(site.layer) for site in replaced):
        made.add("FactorizedEmbedding")
    pruned = [site.name for site in replaced if _is_pruned(site.layer)]
    lost = (
        "The product of two matrices has no zeros to keep: those of "
        f"{', '.join(pruned)} are lost."
    )
    return (*loading_notes(model, made), *([lost] if pruned else []))


def _is_pruned(layer) -> bool:
    return is_sparse(np.asarray(getattr(layer, kind_of(layer).weight)))
