"""What the signatures for other calls are fed with and should give."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kbig.export.decisions import Task
from kbig.export.served import EXAMPLES
from kbig.export.served import embedding_model
from kbig.export.signatures import call_by_name
from kbig.serving.examples import example_of
from kbig.serving.examples import rows_of

_BATCH = 256


def with_examples(
    samples: Mapping[str, np.ndarray],
    model: keras.Model,
    signatures: Iterable[str],
) -> dict[str, np.ndarray]:
    """Adds serialized tf.Examples, so that every signature can be fed.

    Args:
        samples: arrays by input name, `(rows, ...)`; `text` among them where
            clients send strings.
        model: whose inputs they are.
        signatures: names of those to feed.

    Returns:
        The samples, with `classify/inputs` or `regress/inputs` where there
        is such a signature: a model may have an input `inputs` of its own.
    """
    takers = [name for name in signatures if name in ("classify", "regress")]
    if not takers:
        return dict(samples)
    names = [name for name in ("text", "text_pair") if name in samples]
    columns = names or [x.name for x in model.inputs]
    rows = rows_of({name: samples[name] for name in columns})
    serialized = np.empty(len(samples[columns[0]]), object)
    serialized[:] = [example_of(row).SerializeToString() for row in rows]
    return {**samples, **{f"{s}/{EXAMPLES}": serialized for s in takers}}


def feeds_of(
    signature: str, inputs: Iterable[str], samples: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Picks what a signature takes, as the process of an artefact does.

    Args:
        signature: its name.
        inputs: names of its inputs.
        samples: as of `with_examples`.

    Returns:
        Arrays by input name.
    """
    return {
        name: samples[key if key in samples else name]
        for name in inputs
        for key in (f"{signature}/{name}",)
    }


def embeddings(
    model: keras.Model, samples: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    """Computes what `embed` should give.

    Args:
        model: that was exported.
        samples: arrays by input name, `(rows, ...)`.

    Returns:
        float32 `(rows, hidden_dim)`; None where no texts are served, or the
        model has no encoder.
    """
    embedder = embedding_model(model) if "text" in samples else None
    if embedder is None:
        return None
    names = [x.name for x in model.inputs]
    parts = []
    for start in range(0, len(samples[names[0]]), _BATCH):
        # As the reference of all other outputs: a GPU would round to TF32.
        with tf.device("CPU:0"):
            rows = {
                name: tf.constant(samples[name][start : start + _BATCH])
                for name in names
            }
            parts.append(call_by_name(embedder, rows)["embedding"].numpy())
    return np.concatenate(parts)


def served_outputs(
    expected: Mapping[str, np.ndarray],
    task: Task | None,
    class_names: Sequence[str],
    embedding: np.ndarray | None,
) -> dict[str, dict[str, np.ndarray]]:
    """Tells what signatures give that do not give the model's own outputs.

    Args:
        expected: outputs of the model by name.
        task: what the first one means.
        class_names: names of the classes.
        embedding: of the same rows, or None.

    Returns:
        `{signature: {output: array}}`, floats only; nothing of `classify`
        without class names, as of `probabilities`.
    """
    first = next(iter(expected.values()))
    return {
        "classify": {"scores": task.probabilities(first)}
        if class_names
        else {},
        "regress": {"outputs": first},
        "embed": {} if embedding is None else {"embedding": embedding},
    }


def class_faults(
    outputs: Mapping[str, np.ndarray], class_names: Sequence[str]
) -> list[str]:
    """Checks that `classes` are the class names, in order, in every row.

    Args:
        outputs: of `classify`.
        class_names: names of the classes in the order of the logits.

    Returns:
        One sentence, or none when all is well.
    """
    if "classes" not in outputs or not class_names:
        return []
    names = np.array([name.encode() for name in class_names])
    if outputs["classes"].shape[1:] == names.shape and bool(
        (outputs["classes"] == names).all()
    ):
        return []
    return ["classes are not the class names in their order"]
