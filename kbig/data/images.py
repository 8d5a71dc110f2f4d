"""Folders of class folders of images."""

import hashlib
import pathlib

import numpy as np
import PIL.Image
import tensorflow as tf

from kbig.data.dataset import Dataset
from kbig.data.dataset import from_columns
from kbig.data.folders import split_folders
from kbig.data.folders import visible
from kbig.data.labels import encode_labels
from kbig.data.splits import assign_splits
from kbig.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
# As TensorFlow decodes them: palettes to RGB.
CHANNELS = {"1": 1, "L": 1, "I;16": 1, "P": 3, "RGB": 3, "RGBA": 4}


def read_image_folder(
    path: pathlib.Path, *, image_size: tuple[int, int] | None = None
) -> Dataset:
    """Reads images whose folder names their class.

    Every file is checked once; pixels are decoded when they are asked for.
    The order is that of a hash of the files, so neighbours are not of one
    class. Of an animated GIF the first frame is taken.

    Args:
        path: a folder with one folder of `.png`, `.jpg`, `.bmp` or `.gif`
            files a class, or with such folders under `train`, `validation`
            (or `val`) and `test`.
        image_size: `(height, width)` that every image is resized to
            (bilinear, antialiased); `None` asks for one common size.

    Returns:
        A `Dataset` of kind `"image"`.

    Raises:
        DataError: naming the folder or the file.

    Example:
    ```python
    data = kbig.data.load("flowers/", image_size=(96, 96))
    ```
    """
    found = _find(path)
    digests = [_digest(file) for _, _, file in found]
    order = np.argsort(digests, kind="stable")
    given, labels, files = zip(*(found[index] for index in order))
    shape = _common_shape(files, resized=image_size is not None)
    splits, rule = assign_splits(
        [digests[index] for index in order],
        None if given[0] is None else given,
        labels,
        source=str(path),
    )
    numbers, class_names = encode_labels(labels, splits, lambda i: files[i])
    return from_columns(
        (np.array([str(file) for file in files]), numbers),
        splits,
        element=_decoder(shape, image_size),
        name=str(path),
        kind="image",
        class_names=class_names,
        licence="unknown",
        source=str(path),
        split=rule,
    )


def holds_images(folder: pathlib.Path) -> bool:
    """Tells whether a folder holds class folders of images.

    Args:
        folder: the folder to look into.

    Returns:
        Whether there is an image in one of its class folders.
    """
    return any(
        file.suffix.lower() in SUFFIXES
        for _, class_folder in _class_folders(folder)
        for file in visible(class_folder)
    )


def _class_folders(path):
    return [
        (split, child)
        for split, folder in split_folders(path)
        for child in visible(folder)
        if child.is_dir()
    ]


def _find(path):
    found = [
        (split, folder.name, file)
        for split, folder in _class_folders(path)
        for file in _images_in(folder)
    ]
    if not found:
        raise DataError(
            f"{path} must hold one folder of images ({', '.join(SUFFIXES)}) a "
            "class, or `.txt` files. Received: neither"
        )
    return found


def _digest(file):
    return hashlib.blake2b(file.read_bytes(), digest_size=16).digest()


def _images_in(folder):
    files = [f for f in visible(folder) if f.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(
            f"{folder} holds no image; a class folder must hold files that "
            f"end in {', '.join(SUFFIXES)}."
        )
    return files


def _common_shape(files, resized):
    first = None
    for file in files:
        shape = _shape(file)
        first = first or shape
        same = shape[2] == first[2] if resized else shape == first
        if not same:
            raise DataError(
                f"{file} is {shape} (height, width, channels) but {files[0]} "
                f"is {first}; all images must share one size and number of "
                "channels. Give `image_size=(height, width)` to resize; "
                "convert the images if their channels differ."
            )
    return first


def _shape(file):
    try:
        with PIL.Image.open(file) as image:
            width, height = image.size
            mode, is_gif = image.mode, image.format == "GIF"
            # A JPEG decodes to an eighth of its size: enough to find breaks.
            image.draft(None, (width // 8, height // 8))
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{file} is not an image that can be decoded. Received: {error}. "
            "Replace or remove the file."
        ) from error
    if mode not in CHANNELS:
        raise DataError(
            f"{file}: expected an image of mode {', '.join(CHANNELS)}. "
            f"Received: mode {mode}. Convert it to RGB."
        )
    return height, width, 3 if is_gif else CHANNELS[mode]


def _decoder(shape, image_size):
    height, width, channels = shape

    def decode(file, label):
        image = tf.io.decode_image(
            tf.io.read_file(file), channels, expand_animations=False
        )
        if image_size is not None:
            image = tf.image.resize(image, image_size, antialias=True)
            image = tf.cast(tf.round(image), tf.uint8)
        size = image_size or (height, width)
        return tf.ensure_shape(image, (*size, channels)), label

    return decode
