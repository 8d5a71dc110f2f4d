"""Signatures that TF Serving's other calls need: Classify, Regress, embed."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from kbig.export.signature import Signature
from kbig.models.transformer import masked_mean

# The only input of a signature for Classify or Regress has this name.
EXAMPLES = tf.saved_model.CLASSIFY_INPUTS


def served_signatures(
    first: Signature, model: keras.Model, class_names: Sequence[str], task
) -> tuple[Signature, ...]:
    """Makes what stands beside `serving_default` for other calls.

    `classify` answers TF Serving's Classify: `classes` (string) and `scores`
    (float32), `(b, classes)` both, in the order of the class names.
    `regress` answers Regress: `outputs`, float32 `(b, 1)`. Both take
    serialized tf.Examples, `inputs`, whose features are named as the inputs
    of `first`.

    Args:
        first: the signature that clients use first.
        model: what it calls.
        class_names: names of the classes, in the order of the logits.
        task: what the logits mean, as `kbig.export.model_signatures` has it.

    Returns:
        None, or one; a row must have one decision or value, and inputs whose
        sizes are fixed.

    Example:
    ```python
    first, *others = model_signatures(model, class_names=("a", "b"))
    ```
    """
    free = any(None in spec.shape[1:] for spec in first.inputs.values())
    shapes = [tuple(x.shape) for x in model.outputs]
    if free or len(shapes) > 1 or len(shapes[0]) != 2:
        return ()
    if class_names:
        return (_classify(first, class_names),)
    if task == "regression" and shapes[0][1] == 1:
        return (_regress(first),)
    return ()


def _classify(first: Signature, class_names) -> Signature:
    names = tf.constant([list(class_names)])

    def classify(inputs):
        scores = first.function(**_parsed(inputs, first))["probabilities"]
        classes = tf.tile(names, [tf.shape(scores)[0], 1])
        return {"classes": classes, "scores": scores}

    method = tf.saved_model.CLASSIFY_METHOD_NAME
    return Signature("classify", _examples(), classify, method)


def _regress(first: Signature) -> Signature:
    def regress(inputs):
        (values,) = first.function(**_parsed(inputs, first)).values()
        return {"outputs": values}

    method = tf.saved_model.REGRESS_METHOD_NAME
    return Signature("regress", _examples(), regress, method)


def _examples() -> dict[str, tf.TensorSpec]:
    return {EXAMPLES: tf.TensorSpec((None,), tf.string, name=EXAMPLES)}


def _parsed(serialized, first: Signature) -> dict[str, tf.Tensor]:
    """Features by name, as the inputs of the first signature."""
    features = {
        name: tf.io.FixedLenFeature(spec.shape[1:], _stored(spec.dtype))
        for name, spec in first.inputs.items()
    }
    parsed = tf.io.parse_example(serialized, features)
    return {
        name: _as_taken(name, parsed[name], spec.dtype)
        for name, spec in first.inputs.items()
    }


def _as_taken(name: str, values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Casts what is parsed, unless integers would become others."""
    if dtype == tf.string:
        return values
    cast = tf.cast(values, dtype)
    if dtype.is_floating:
        return cast
    same = tf.reduce_all(tf.equal(tf.cast(cast, values.dtype), values))
    message = f"{name} must be of {dtype.name}"
    with tf.control_dependencies([tf.debugging.Assert(same, [message])]):
        return tf.identity(cast)


def _stored(dtype: tf.DType) -> tf.DType:
    """The dtype of a tf.Example that holds values of another one."""
    if dtype == tf.string:
        return tf.string
    return tf.float32 if dtype.is_floating else tf.int64


def embedding_model(model: keras.Model) -> keras.Model | None:
    """Finds what a text is to a model before its head: one vector.

    Args:
        model: a model with KerasHub's Transformer encoders and an input
            `padding_mask`, as `kbig.models.bert_classifier` makes.

    Returns:
        A model of the same inputs and layers whose output `embedding` is the
        mean of the last encoder's states over the real tokens, float32
        `(batch, hidden_dim)`. None where there is no such encoder.

    Example:
    ```python
    backbone = kbig.models.bert("tiny")
    embedder = embedding_model(kbig.models.bert_classifier(backbone, 2))
    ```
    """
    import keras_hub

    encoders = [
        layer
        for layer in model.layers
        if isinstance(layer, keras_hub.layers.TransformerEncoder)
    ]
    masks = [x for x in model.inputs if x.name == "padding_mask"]
    if not encoders or not masks:
        return None
    pooled = masked_mean(encoders[-1].output, masks[0])
    return keras.Model(model.input, {"embedding": pooled}, name="embedder")
