"""What a config.json of Hugging Face calls the sizes of a BERT."""

# Their key, ours.
SIZES = {
    "vocab_size": "vocabulary_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "hidden_size": "hidden_dim",
    "intermediate_size": "intermediate_dim",
}
# What a config.json may leave out has the default of their BertConfig.
DEFAULTS = {
    "max_position_embeddings": ("max_sequence_length", 512),
    "type_vocab_size": ("num_segments", 2),
    "layer_norm_eps": ("layer_norm_epsilon", 1e-12),
    "hidden_dropout_prob": ("dropout", 0.1),
}
# Of several names for one form the first is written.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_approximate",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_approximate",
}
# What this model has one form of: key, that form, which is also the default.
FIXED = (
    ("position_embedding_type", "absolute"),
    ("is_decoder", False),
    ("add_cross_attention", False),
)


def sizes_of(backbone) -> dict:
    """Reads off a backbone what it was built with.

    Args:
        backbone: a `keras_hub.models.BertBackbone`.

    Returns:
        Values by our keys, those of `SIZES` and `DEFAULTS`.

    Example:
    ```python
    sizes_of(kbig.models.bert("tiny"))["num_layers"]  # 2
    ```
    """
    sizes = {ours: getattr(backbone, ours) for ours in SIZES.values()}
    optional = [ours for ours, _ in DEFAULTS.values()]
    epsilon = backbone.embeddings_layer_norm.epsilon
    return sizes | {
        ours: epsilon
        if ours == "layer_norm_epsilon"
        else getattr(backbone, ours)
        for ours in optional
    }
