"""KerasHub's BERT, as long as its constructor can say what is left of it."""

import keras
import keras_hub

from kbig.models.bert import ACTIVATIONS
from kbig.models.bert import activation_of
from kbig.models.bert import backbone_of
from kbig.models.layers import children

POOLER = "pooled_dense"


def is_pooler(graph, name: str) -> bool:
    """Tells a BERT's pooler, whose width is that of the backbone.

    Args:
        graph: a functional model.
        name: of one of its layers.
    """
    names = {layer.name for layer in graph.layers}
    return name == POOLER and "segment_embedding" in names


def encoders_of(model: keras.Model) -> list[keras.Layer]:
    """The transformer blocks of a model, nested models included, in order.

    Args:
        model: any model.
    """
    found: dict[int, keras.Layer] = {}
    _add_encoders(model, found)
    return list(found.values())


def _add_encoders(layer, found) -> None:
    if isinstance(layer, keras_hub.layers.TransformerEncoder):
        found[id(layer)] = layer
        return
    # `_flatten_layers` as a whole would turn the order in models around.
    for each in children(layer):
        _add_encoders(each, found)


def backbone_like(model, edits) -> keras_hub.models.BertBackbone | None:
    """Builds a BertBackbone of other sizes, where there is one.

    Args:
        model: any model.
        edits: the `Edits` that its copy is to have.

    Returns:
        A backbone with weights yet to be assigned. None when the model is no
        BertBackbone, or what is left of it is none: its blocks differ, have
        lost heads, or anything else changes.
    """
    if not stays_backbone(model, edits):
        return None
    blocks = _blocks(model, edits)
    first = blocks[0]
    return backbone_of(
        activation=activation_of(first),
        layer_norm_epsilon=first.layer_norm_epsilon,
        name=model.name,
        vocabulary_size=model.vocabulary_size,
        num_layers=len(blocks),
        num_heads=model.num_heads,
        hidden_dim=model.hidden_dim,
        intermediate_dim=_sizes(first, edits)[0],
        dropout=model.dropout,
        max_sequence_length=model.max_sequence_length,
        num_segments=model.num_segments,
        dtype=model.token_embedding.dtype_policy,
    )


def stays_backbone(model, edits) -> bool:
    """Tells whether what is left of a model is a BertBackbone.

    Args:
        model: any model.
        edits: the `Edits` that its copy is to have.
    """
    if type(model) is not keras_hub.models.BertBackbone:
        return False
    blocks = _blocks(model, edits)
    sizes = [_sizes(x, edits) for x in blocks]
    changed = {id(x) for x in model.layers} & set(edits.sizes)
    others = changed - {id(x) for x in blocks}
    name = getattr(blocks[0].activation, "__name__", "")
    is_one = all(x == sizes[0] for x in sizes) and not others
    has_all_heads = sizes[0][1] == model.num_heads
    return is_one and has_all_heads and name in ACTIVATIONS


def _blocks(model, edits) -> list[keras.Layer]:
    return [x for x in encoders_of(model) if id(x) not in edits.dropped]


def _sizes(encoder, edits) -> tuple[int, int]:
    new = edits.sizes.get(id(encoder), {})
    return (
        new.get(("intermediate_dim",), encoder.intermediate_dim),
        new.get(("num_heads",), encoder.num_heads),
    )
