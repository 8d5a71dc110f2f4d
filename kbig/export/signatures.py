"""What an exported model takes and gives: named tensors, in and out."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import tensorflow as tf

from kbig import data
from kbig.errors import UsageError
from kbig.export.decisions import TASKS
from kbig.export.input_checks import nan_where_nan
from kbig.export.input_checks import with_checked_ids
from kbig.export.served import embedding_model
from kbig.export.served import served_signatures
from kbig.export.signature import Signature


def model_signatures(
    model: keras.Model,
    *,
    tokenizer=None,
    sequence_length: int | None = None,
    class_names: Sequence[str] = (),
    task: str | None = None,
    pairs: bool = False,
    check_ids: bool = False,
    keep_nan: bool = False,
    pixels: bool = False,
) -> tuple[Signature, ...]:
    """Returns the signatures of a model, the one that clients use first.

    With a tokenizer, `serving_default` takes strings (`text`, shape `(b,)`)
    and `ids` takes the model's own inputs; otherwise `serving_default` takes
    the model's own inputs. With class names, `probabilities` (float32,
    `(b, ..., classes)`) and `label` (string, `(b, ...)`) join the model's
    outputs; of several labels a row there are only probabilities. Where logits
    are NaN the label is empty. A model
    that labels each token also gives `tokens` (string, `(b, steps)`), the
    pieces of a text that the labels belong to.

    Beside these stand `classify` or `regress`, where a row has one decision
    or one value: they take tf.Examples whose features are the inputs of
    `serving_default`. A text model with KerasHub's encoders also has `embed`,
    which takes what `serving_default` takes and gives `embedding`, float32
    `(b, hidden_dim)`: the mean of the last encoder's states over the tokens.

    Args:
        model: a built model.
        tokenizer: a KerasHub tokenizer that works inside a graph, or None.
        sequence_length: length of the rows that the tokenizer fills.
        class_names: names of the classes in the order of the logits.
        task: what the logits mean, a key of `kbig.export.decisions.TASKS`.
        pairs: whether clients send two texts, `text` and `text_pair`.
        check_ids: whether ids that no vocabulary has, and inputs of different
            numbers of rows, are refused. No converter needs such checks.
        keep_nan: whether the outputs of a row with NaN are NaN, whatever the
            kernels make of it.
        pixels: whether floats that the model takes are given as uint8.

    Returns:
        A tuple of `Signature`.

    Raises:
        UsageError: class names that do not fit the model's output.
    """
    check_class_names(model, class_names)

    def predict(**inputs):
        if pixels:
            inputs = {
                x.name: tf.cast(inputs[x.name], x.dtype) for x in model.inputs
            }
        outputs = call_by_name(model, inputs)
        if keep_nan:
            outputs = nan_where_nan(inputs, outputs)
        return {**outputs, **_decisions(outputs, class_names, task)}

    axes = 1 if tokenizer is None else 2
    checked = with_checked_ids(predict, model, axes) if check_ids else predict
    own = {x.name: _spec(x, pixels) for x in model.inputs}
    if tokenizer is None:
        first = Signature("serving_default", own, checked)
        # Features of tf.Examples are floats, or integers of eight bytes each.
        in_floats = {x.name: _spec(x, False) for x in model.inputs}
        others = served_signatures(
            dataclasses.replace(first, inputs=in_floats),
            model,
            class_names,
            task,
        )
        return (first, *others)

    tokenwise = len(model.outputs[0].shape) == 3

    def encode(text, text_pair=None):
        texts = text if text_pair is None else tf.stack([text, text_pair], 1)
        return data.encode(texts, tokenizer, sequence_length)

    def predict_text(**text):
        encoded = encode(**text)
        outputs = predict(**{name: encoded[name] for name in own})
        if tokenwise:
            pieces = tf.constant(tokenizer.get_vocabulary())
            outputs["tokens"] = tf.gather(pieces, encoded["token_ids"])
        return outputs

    text = {
        name: tf.TensorSpec((None,), tf.string, name=name)
        for name in (("text", "text_pair") if pairs else ("text",))
    }
    first = Signature("serving_default", text, predict_text)
    return (
        first,
        Signature("ids", own, checked),
        *served_signatures(first, model, class_names, task),
        *_embed(model, text, encode),
    )


def _embed(model, text, encode) -> tuple[Signature, ...]:
    embedder = embedding_model(model)
    if embedder is None:
        return ()

    def embed(**texts):
        return call_by_name(embedder, encode(**texts))

    return (Signature("embed", text, embed),)


def check_class_names(model: keras.Model, class_names: Sequence[str]) -> None:
    """Raises a UsageError unless there is one name a logit, or none."""
    if not class_names:
        return
    shapes = [tuple(x.shape) for x in model.outputs]
    if len(shapes) != 1 or shapes[0][-1] != len(class_names):
        raise UsageError(
            "Class names need a model with one output of shape "
            f"(batch, ..., {len(class_names)}). Received: {len(class_names)} "
            f"class names and outputs of shapes {shapes}. Pass one name per "
            "logit, or none."
        )


def call_by_name(
    model: keras.Model, inputs: Mapping[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Calls a model in inference with named tensors, returns named tensors."""
    ordered = [inputs[x.name] for x in model.inputs]
    if isinstance(model, keras.Sequential):
        outputs = model(ordered[0], training=False)
    else:
        structure = keras.tree.pack_sequence_as(model.input, ordered)
        outputs = model(structure, training=False)
    if isinstance(outputs, dict):
        return dict(outputs)
    return dict(zip(output_names(model), keras.tree.flatten(outputs)))


def output_names(model: keras.Model) -> list[str]:
    """Names of the outputs: their keys, or the layers that make them."""
    # A Sequential that was never called has `outputs`, but no `output`.
    is_sequential = isinstance(model, keras.Sequential)
    if not is_sequential and isinstance(model.output, dict):
        return list(model.output)
    return [x._keras_history.operation.name for x in model.outputs]


def _spec(x: keras.KerasTensor, pixels: bool) -> tf.TensorSpec:
    are_pixels = pixels and tf.as_dtype(x.dtype).is_floating
    dtype = tf.uint8 if are_pixels else x.dtype
    return tf.TensorSpec((None, *x.shape[1:]), dtype, name=x.name)


def _decisions(outputs, class_names, task) -> dict[str, tf.Tensor]:
    if not class_names:
        return {}
    (logits,) = outputs.values()
    if not TASKS[task or "classification"].one_label:
        return {"probabilities": tf.nn.sigmoid(logits)}
    labels = tf.gather(tf.constant(class_names), tf.argmax(logits, axis=-1))
    unknown = tf.reduce_any(tf.math.is_nan(logits), axis=-1)
    return {
        "probabilities": tf.nn.softmax(logits),
        "label": tf.where(unknown, "", labels),
    }
