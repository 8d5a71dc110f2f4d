"""What shrinking changes beside the numbers of units."""

import keras
from keras.src.models.functional import Functional

from kbig.compression.notes import loading_notes
from kbig.compression.structured.backbone import encoders_of
from kbig.compression.structured.backbone import stays_backbone
from kbig.compression.structured.narrow_encoder import loses_heads
from kbig.compression.structured.plan import Surgery

_PLAIN = (keras.Model, Functional, keras.Sequential)


def notes_of(surgery: Surgery) -> tuple[str, ...]:
    """Says what the smaller model needs, and what it is no more.

    Args:
        surgery: by which it is made.

    Returns:
        Sentences.
    """
    source = surgery.cut.model if surgery.cut else surgery.model
    sizes = surgery.edits.sizes
    narrow = any(
        loses_heads(x, sizes.get(id(x), {})) for x in encoders_of(source)
    )
    notes = loading_notes(source, ["NarrowEncoder"] if narrow else [])
    kind = type(surgery.model)
    is_same = kind in _PLAIN or stays_backbone(source, surgery.edits)
    if not is_same:
        is_sequential = issubclass(kind, keras.Sequential)
        plain = "Sequential" if is_sequential else "Functional"
        notes.append(
            f"It is a plain {plain} model, no {kind.__name__}: what that "
            "has beside its layers, such as a preprocessor, is lost."
        )
    return tuple(notes)
