"""Vocabularies of models that start from nothing."""

import kbig


def new_vocabulary(texts, config) -> tuple[tuple[str, ...], bool, bool]:
    """Trains a vocabulary on texts, for a model that starts from nothing.

    Args:
        texts: one by one.
        config: with `vocabulary_size`, `lowercase` and `strip_accents`.

    Returns:
        The vocabulary, and whether case is folded and accents stripped.
    """
    options = casing(config)
    vocabulary = kbig.data.train_vocabulary(
        texts, config.vocabulary_size, **options
    )
    return vocabulary, *options.values()


def casing(config) -> dict[str, bool]:
    """`lowercase` and `strip_accents`, which follows it unless given."""
    accents = config.strip_accents
    return {
        "lowercase": config.lowercase,
        "strip_accents": config.lowercase if accents is None else accents,
    }
