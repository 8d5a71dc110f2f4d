"""What a plan says beside its numbers of the model that it makes."""

from collections.abc import Iterable

import keras

_OWN = f"{__package__}."


def loading_notes(model: keras.Model, made: Iterable[str]) -> list[str]:
    """Says what must be imported before a saved file of a model is loaded.

    Args:
        model: that a smaller one is made of.
        made: names of kbig's classes that will be in it.

    Returns:
        A sentence, or nothing where all classes are Keras's or the caller's.
    """
    kept = {
        type(layer).__name__
        for layer in model._flatten_layers()
        if _is_saved(type(layer))
    }
    names = sorted(kept | set(made))
    if not names:
        return []
    return [
        "A saved file of it loads after `import kbig.compression`, as it "
        f"holds {', '.join(names)}."
    ]


def _is_saved(kind: type) -> bool:
    """Tells kbig's own classes that a file names."""
    is_registered = kind.__name__ != keras.saving.get_registered_name(kind)
    return is_registered and kind.__module__.startswith(_OWN)
