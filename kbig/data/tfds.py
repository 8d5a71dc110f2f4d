"""Data sets of tensorflow-datasets that are on disk."""

import difflib
import os

import tensorflow as tf

from kbig.data.dataset import Dataset
from kbig.data.dataset import from_parts
from kbig.errors import DataError
from kbig.errors import UsageError


def read_tfds(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    image_size: tuple[int, int] | None = None,
) -> Dataset:
    """Reads labelled images or texts of tensorflow-datasets.

    Nothing is downloaded. A missing validation or test split is the last
    tenth of the training split, or its last two; a test split without
    labels (label -1) counts as missing.

    Args:
        name: `<name>` or `<name>:<config>`.
        data_dir: folder of the prepared data; `None` is the default of
            tensorflow-datasets, `~/tensorflow_datasets`.
        image_size: `(height, width)` that every image is resized to;
            `None` asks for one common size.

    Returns:
        A `Dataset` of kind `"image"` or `"text"`.

    Raises:
        UsageError: if the name is not known, or the data are not on disk.
        DataError: if its features are not an image or text and a class.

    Example:
    ```python
    data = kbig.data.load("tfds:mnist", data_dir="/data/tfds")
    ```
    """
    data_dir = data_dir and os.fspath(data_dir)
    builder = _builder(name.replace(":", "/", 1), data_dir)
    if not builder.is_prepared():
        raise UsageError(_how_to_prepare(name, data_dir))
    x_key, y_key, kind = _roles(name, builder.info.features)
    splits, rule = _splits(builder, y_key)
    element = _element(x_key, y_key, kind, image_size)
    parts = {
        split: builder.as_dataset(split=part, shuffle_files=False).map(
            element, num_parallel_calls=tf.data.AUTOTUNE
        )
        for split, part in splits.items()
    }
    shape = parts["train"].element_spec[0].shape
    if not shape.is_fully_defined():
        raise DataError(
            f"tfds:{name} has images of several sizes. Received: shape "
            f"{shape}. Give `image_size=(height, width)` to resize them."
        )
    return from_parts(
        parts,
        name=f"tfds:{name}",
        kind=kind,
        class_names=tuple(builder.info.features[y_key].names),
        licence=builder.info.redistribution_info.license or "unknown",
        source=builder.info.homepage or f"tensorflow-datasets {name}",
        split=rule,
    )


def _builder(name, data_dir):
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        base = name.split("/")[0]
        nearest = difflib.get_close_matches(base, known, 5, cutoff=0.4)
        raise UsageError(
            f"tensorflow-datasets has no set {base!r}, and there is none in "
            f"data_dir={data_dir!r}. Nearest names: {', '.join(nearest)}"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"tensorflow-datasets cannot build {name!r}: "
            f"{str(error).splitlines()[0]} Write `tfds:<name>:<config>`."
        ) from error


def _how_to_prepare(name, data_dir):
    builder = name.replace(":", "/", 1)
    where = f", data_dir={data_dir!r}" if data_dir else ""
    command = (
        'python -c "import tensorflow_datasets as tfds; '
        f'tfds.builder({builder!r}{where}).download_and_prepare()"'
    )
    return (
        f"tfds:{name} is not prepared. Received: data_dir={data_dir!r}. If it "
        "is prepared in another folder, give that as `data_dir`. If not, run "
        f"on a machine with a network: {command} and copy the folder that it "
        "writes here."
    )


def _roles(name, features):
    import tensorflow_datasets as tfds

    def keys(kind):
        found = features.items() if hasattr(features, "items") else ()
        return [key for key, feature in found if isinstance(feature, kind)]

    labels = keys(tfds.features.ClassLabel)
    for kind, feature in (
        ("image", tfds.features.Image),
        ("text", tfds.features.Text),
    ):
        if len(keys(feature)) == 1 and len(labels) == 1:
            return keys(feature)[0], labels[0], kind
    raise DataError(
        f"tfds:{name} must have one image or text and one class label. "
        f"Received: features {features}"
    )


def _splits(builder, y_key):
    have = [s for s in ("validation", "test") if s in builder.info.splits]
    if "test" in have and _first_label(builder, y_key) < 0:
        have.remove("test")
    missing = [s for s in ("validation", "test") if s not in have]
    splits = {split: split for split in have}
    kept = 100 - 10 * len(missing)
    splits["train"] = f"train[:{kept}%]"
    for index, split in enumerate(missing):
        low = kept + 10 * index
        splits[split] = f"train[{low}%:{low + 10}%]"
    if not missing:
        return splits, "Train, validation and test as given."
    return splits, (
        f"{' and '.join(missing).capitalize()}: each a tenth of the given "
        f"training split, at its end ({kept} % of it remain)."
    )


def _first_label(builder, y_key):
    (example,) = builder.as_dataset(split="test[:1]").as_numpy_iterator()
    return example[y_key]


def _element(x_key, y_key, kind, image_size):
    def element(example):
        x, y = example[x_key], tf.cast(example[y_key], tf.int32)
        if kind == "image" and image_size is not None:
            x = tf.image.resize(x, image_size, antialias=True)
            x = tf.cast(tf.clip_by_value(tf.round(x), 0, 255), tf.uint8)
        return x, y

    return element
