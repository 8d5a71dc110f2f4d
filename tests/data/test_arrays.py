import zipfile

import numpy as np
import pytest

from kbig.data import catalog
from kbig.errors import DataError
from kbig.errors import UsageError


def make(shape=(4, 5), dtype="uint8", count=40):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (count, *shape))
    y = np.arange(count) % 2
    half = count // 2
    return {
        "x_train": x[:half].astype(dtype),
        "y_train": y[:half],
        "x_test": x[half:].astype(dtype),
        "y_test": y[half:],
    }


def load(folder, arrays, **options):
    path = folder / "a.npz"
    np.savez(path, **arrays)
    return catalog.load(path, **options)


def test_bytes_of_rank_three_are_images(tmp_path):
    arrays = make()
    data = load(tmp_path, arrays)
    assert (data.info.kind, data.info.shapes["x"]) == ("image", (4, 5, 1))
    x, y = data.arrays("test")
    np.testing.assert_array_equal(x[..., 0], arrays["x_test"])
    np.testing.assert_array_equal(y, arrays["y_test"])
    assert (x.dtype, y.dtype) == (np.uint8, np.int32)
    assert data.info.sizes["train"] + data.info.sizes["validation"] == 20
    assert data.info.sizes["validation"] >= 1


def test_floats_of_rank_three_are_sequences_unless_told_otherwise(tmp_path):
    arrays = make(dtype="float64")
    data = load(tmp_path, arrays)
    assert (data.info.kind, data.info.shapes["x"]) == ("sequence", (4, 5))
    x, _ = data.arrays("test")
    np.testing.assert_array_equal(x, arrays["x_test"])
    assert x.dtype == np.float32
    assert load(tmp_path, arrays, kind="image").info.kind == "image"
    assert load(tmp_path, make(), kind="sequence").info.kind == "sequence"


def test_float_images_in_the_unit_range_become_the_bytes_they_were(tmp_path):
    arrays = make((4, 5, 3))
    scaled = arrays | {
        name: (arrays[name] / 255).astype("float32")
        for name in ("x_train", "x_test")
    }
    data = load(tmp_path, scaled)
    np.testing.assert_array_equal(data.arrays("test")[0], arrays["x_test"])


def test_given_validation_and_labels_from_one(tmp_path):
    arrays = make()
    arrays |= {
        "y_train": arrays["y_train"] + 1,
        "y_test": arrays["y_test"] + 1,
        "x_validation": arrays["x_test"][:4],
        "y_validation": np.array([2, 2, 1, 1]),
    }
    data = load(tmp_path, arrays)
    assert data.info.class_names == ("1", "2")
    assert list(data.arrays("validation")[1]) == [1, 1, 0, 0]
    named = load(tmp_path, arrays, class_names=["cat", "dog"])
    assert named.info.class_names == ("cat", "dog")


def test_kind_decides_where_shape_and_type_do_not(tmp_path):
    pixels = make((28, 28))
    scaled = pixels | {
        name: pixels[name] / np.float32(255) for name in ("x_train", "x_test")
    }
    data = load(tmp_path, scaled, kind="image")
    x, _ = data.arrays("test")
    np.testing.assert_array_equal(x[..., 0], pixels["x_test"])
    assert (data.info.kind, x.dtype) == ("image", np.uint8)

    steps = make((7, 3), "int16")
    data = load(tmp_path, steps, kind="sequence")
    x, _ = data.arrays("test")
    np.testing.assert_array_equal(x, steps["x_test"])
    assert (data.info.kind, x.dtype) == ("sequence", np.float32)


def test_labels_may_be_a_column(tmp_path):
    arrays = make()
    column = {name: arrays[name][:, None] for name in ("y_train", "y_test")}
    data = load(tmp_path, arrays | column)
    assert data.info.shapes["y"] == ()
    np.testing.assert_array_equal(data.arrays("test")[1], arrays["y_test"])


def test_labels_may_be_strings(tmp_path):
    arrays = make()
    # In order of the alphabet, so "dog" (of 0) becomes 1.
    names = {
        name: np.array(["dog", "cat"])[arrays[name]]
        for name in ("y_train", "y_test")
    }
    data = load(tmp_path, arrays | names)
    assert data.info.class_names == ("cat", "dog")
    np.testing.assert_array_equal(data.arrays("test")[1], 1 - arrays["y_test"])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x_train": None}, "no array 'x_train'"),
        ({"y_test": None}, "no array 'y_test'"),
        ({"y_train": np.zeros(3, int)}, "y_train must have one label.*20"),
        ({"y_train": np.zeros(20)}, "y_train must hold integers or.*float64"),
        ({"y_train": np.zeros((20, 2), int)}, "y_train must have one label"),
        ({"y_test": np.array(["a"] * 19 + [" "])}, r"y_test\[19\] is an emp"),
        ({"x_train": np.array(3)}, "x_train must hold one.* a single value"),
        ({"y_test": np.array(3)}, "y_test must hold one.* a single value"),
        ({"x_test": np.zeros((20, 4, 6), "uint8")}, "x_test must have the sh"),
        ({"x_train": np.zeros((0, 4, 5))}, "x_train is empty"),
        ({"x_train": np.full((20, 4, 5), "a")}, "x_train must hold numbers"),
        ({"y_test": np.full(20, 7)}, r"y_test\[0\]: label '7' is only in"),
        ({"x_train": np.array([{}], object)}, "without pickles"),
        ({"y_train": np.zeros(20, int), "y_test": np.zeros(20, int)}, "two"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, change, message):
    arrays = {k: v for k, v in (make() | change).items() if v is not None}
    with pytest.raises(DataError, match=message):
        load(tmp_path, arrays)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(tmp_path, value):
    arrays = make(dtype="float32")
    arrays["x_test"][7, 1, 1] = value
    with pytest.raises(DataError, match=r"x_test\[7\] holds NaN or infinity"):
        load(tmp_path, arrays)


@pytest.mark.parametrize("scale, shift", [(1, -5), (1.5, 0), (2, 0)])
def test_pixels_out_of_range_are_rejected(tmp_path, scale, shift):
    arrays = make((4, 5, 3), "float32")
    arrays["x_train"] = arrays["x_train"] * scale + shift
    with pytest.raises(DataError, match=r"whole numbers in \[0, 255\]"):
        load(tmp_path, arrays)


def test_shapes_kinds_and_names_that_do_not_fit(tmp_path):
    with pytest.raises(DataError, match="sequences must be"):
        load(tmp_path, make((4, 5, 3)), kind="sequence")
    with pytest.raises(DataError, match="1, 3 or 4 channels"):
        load(tmp_path, make((4, 5, 2)))
    with pytest.raises(UsageError, match="kind='text'"):
        load(tmp_path, make(), kind="text")
    with pytest.raises(UsageError, match="must name the 2 classes 0, 1"):
        load(tmp_path, make(), class_names=["one"])


def test_files_that_are_no_archives_are_rejected(tmp_path):
    text, array = tmp_path / "text.npz", tmp_path / "array.npz"
    text.write_bytes(b"not a zip file")
    with open(array, "wb") as file:
        np.save(file, np.zeros((4, 5)))
    for path in (text, array):
        with pytest.raises(DataError, match="could not be .* not a zip file"):
            catalog.load(path)


def test_archives_of_something_else_are_rejected(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train", b"pixels")
        archive.writestr("y_train", b"labels")
    with pytest.raises(DataError, match="x_train must hold one example a row"):
        catalog.load(path)


def test_damaged_archives_are_rejected(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **make())
    content = bytearray(path.read_bytes())
    # Deflate knows no block of type 3, and these bytes begin with one.
    begin = content.index(b"x_train.npy") + len("x_train.npy")
    content[begin : begin + 400] = b"\xff" * 400
    path.write_bytes(content)
    with pytest.raises(DataError, match="could not be read"):
        catalog.load(path)
