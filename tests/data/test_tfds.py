import socket
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builders import adhoc_builder

from kbig.data import catalog
from kbig.errors import DataError
from kbig.errors import UsageError


def store(folder, name, features, splits):
    adhoc_builder.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            split: list(enumerate(rows)) for split, rows in splits.items()
        },
        data_dir=folder,
        homepage="https://example.org/",
        disable_shuffling=True,
    )


def texts(count, label=None):
    return [
        {"sentence": f"text {i}", "label": i % 2 if label is None else label}
        for i in range(count)
    ]


def store_texts(folder, name, **splits):
    store(
        folder,
        name,
        {
            "sentence": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["bad", "good"]),
        },
        splits,
    )


def store_images(folder, name, shape, images):
    rows = [{"image": x, "label": i % 3} for i, x in enumerate(images)]
    store(
        folder,
        name,
        {
            "image": tfds.features.Image(shape=shape),
            "label": tfds.features.ClassLabel(num_classes=3),
        },
        {"train": rows, "test": rows[:2]},
    )


def test_texts_take_the_last_tenth_of_training_for_validation(tmp_path):
    store_texts(tmp_path, "opinions", train=texts(20), test=texts(3))
    data = catalog.load("tfds:opinions", data_dir=tmp_path)
    assert data.info.sizes == {"train": 18, "validation": 2, "test": 3}
    assert data.info.class_names == ("bad", "good")
    assert data.info.source == "https://example.org/"
    strings, labels = data.arrays("validation")
    assert list(strings) == ["text 18", "text 19"]
    assert list(labels) == [0, 1] and labels.dtype == np.int32


def test_own_validation_is_kept_and_unlabelled_test_is_not(tmp_path):
    store_texts(
        tmp_path,
        "contest",
        train=texts(10),
        validation=texts(4),
        test=texts(5, label=-1),
    )
    data = catalog.load("tfds:contest", data_dir=tmp_path)
    assert data.info.sizes == {"train": 9, "validation": 4, "test": 1}
    assert list(data.arrays("test")[0]) == ["text 9"]
    assert "Test: " in data.info.split


def test_images(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (20, 4, 5, 3)).astype("uint8")
    store_images(tmp_path, "tiles", (4, 5, 3), images)
    data = catalog.load("tfds:tiles", data_dir=tmp_path)
    assert data.info.kind == "image"
    assert data.info.shapes == {"x": (4, 5, 3), "y": ()}
    np.testing.assert_array_equal(data.arrays("train")[0], images[:18])


def test_images_of_several_sizes_must_be_resized(tmp_path):
    images = [np.full((4 + i, 5, 3), 9 * i, "uint8") for i in range(10)]
    store_images(tmp_path, "shapes", (None, None, 3), images)
    with pytest.raises(DataError, match="image_size"):
        catalog.load("tfds:shapes", data_dir=tmp_path)
    data = catalog.load("tfds:shapes", data_dir=tmp_path, image_size=(6, 8))
    x, _ = data.arrays("train")
    assert x.shape == (9, 6, 8, 3)
    # Resizing a constant image gives that constant.
    np.testing.assert_array_equal(x[:, 0, 0, 0], 9 * np.arange(9))


def test_the_registered_builder_of_mnist_reads_from_disk(tmp_path):
    digits = np.arange(20 * 784).reshape(20, 28, 28, 1).astype("uint8")

    registered = type(tfds.builder("mnist", data_dir=tmp_path))

    with tfds.core.registered.skip_registration():

        class Mnist(registered):
            def _split_generators(self, dl_manager):
                return {"train": self._rows(20), "test": self._rows(2)}

            def _rows(self, count):
                for i in range(count):
                    yield i, {"image": digits[i], "label": i % 10}

    Mnist(data_dir=tmp_path).download_and_prepare()
    data = catalog.load("tfds:mnist", data_dir=tmp_path)
    assert data.info.shapes["x"] == (28, 28, 1)
    assert data.info.class_names == tuple("0123456789")
    assert data.info.sizes == {"train": 18, "validation": 2, "test": 2}


def test_data_that_are_not_on_disk_say_how_to_get_them(tmp_path, monkeypatch):
    lookups = []

    def refuse(host, *arguments, **options):
        lookups.append(host)
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    begin = time.perf_counter()
    with pytest.raises(UsageError) as error:
        catalog.load("tfds:mnist", data_dir=tmp_path)
    assert time.perf_counter() - begin < 60
    assert not lookups
    message = str(error.value)
    assert f"Received: data_dir={str(tmp_path)!r}" in message
    assert "give that as `data_dir`" in message
    assert "on a machine with a network" in message
    assert f"tfds.builder('mnist', data_dir={str(tmp_path)!r})" in message
    assert "download_and_prepare()" in message


def test_unknown_names_give_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="Nearest names: .*mnist"):
        catalog.load("tfds:mnits", data_dir=tmp_path)
    with pytest.raises(UsageError, match="no option 'folder'"):
        catalog.load("tfds:mnist", folder=tmp_path)


def test_features_must_be_one_input_and_one_class(tmp_path):
    store(
        tmp_path,
        "numbers",
        {"value": tf.float32, "label": tfds.features.ClassLabel(num_classes=2)},
        {"train": [{"value": 1.0, "label": 0}] * 10},
    )
    with pytest.raises(DataError, match="one image or text"):
        catalog.load("tfds:numbers", data_dir=tmp_path)
