import numpy as np
import PIL.Image
import pytest

from kbig.data import catalog
from kbig.errors import DataError


def save(path, value, size=(4, 6), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new(mode, size[::-1], value).save(path)


def grey(value):
    return (value,) * 3


def fill(folder, count=8, **options):
    for label, base in (("cat", 0), ("dog", 100)):
        for i in range(count):
            save(folder / label / f"{i}.png", grey(base + i), **options)


def test_classes_are_folders_and_pixels_survive(tmp_path):
    fill(tmp_path)
    data = catalog.load(tmp_path)
    assert data.info.class_names == ("cat", "dog")
    assert data.info.shapes == {"x": (4, 6, 3), "y": ()}
    assert sum(data.info.sizes.values()) == 16
    for split, size in data.info.sizes.items():
        x, y = data.arrays(split)
        assert x.shape == (size, 4, 6, 3) and x.dtype == np.uint8
        np.testing.assert_array_equal(x.min((1, 2, 3)) >= 100, y == 1)


def test_split_folders_are_kept(tmp_path):
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        fill(tmp_path / split, count)
    data = catalog.load(tmp_path)
    assert data.info.sizes == {"train": 6, "validation": 4, "test": 2}
    assert sorted(data.arrays("test")[0][:, 0, 0, 0]) == [0, 100]


@pytest.mark.parametrize("splits", [[""], ["train", "test"]])
def test_text_files_beside_the_images_are_left_alone(tmp_path, splits):
    (tmp_path / "LICENSE.txt").write_text("One.\n\nTwo.\n\nThree.\n")
    for split in splits:
        fill(tmp_path / split)
        (tmp_path / split / "cat" / "notes.txt").write_text("Mine.\n")
    data = catalog.load(tmp_path)
    assert (data.info.kind, data.info.class_names) == ("image", ("cat", "dog"))
    assert sum(data.info.sizes.values()) == 16 * len(splits)


def test_a_folder_of_texts_and_loose_images_is_a_corpus(tmp_path):
    (tmp_path / "novel.txt").write_text("One.\n\nTwo.\n\nThree.\n")
    save(tmp_path / "cover.png", grey(1))
    assert catalog.load(tmp_path).info.kind == "corpus"


@pytest.mark.parametrize(
    "suffix, mode, channels",
    [
        ("png", "L", 1),
        ("png", "RGBA", 4),
        ("bmp", "RGB", 3),
        ("gif", "L", 3),
        ("jpg", "L", 1),
        ("jpeg", "RGB", 3),
    ],
)
def test_formats(tmp_path, suffix, mode, channels):
    for index in range(10):
        value = index if mode == "L" else (index,) * channels
        name = f"{'ab'[index % 2]}/{index}.{suffix}"
        save(tmp_path / name, value, (8, 8), mode)
    data = catalog.load(tmp_path)
    assert data.info.shapes["x"] == (8, 8, channels)
    values = []
    for split in data.info.sizes:
        x, y = data.arrays(split)
        assert np.ptp(x, axis=(1, 2, 3)).max() == 0
        np.testing.assert_array_equal(x[:, 0, 0, 0] % 2, y)
        values.extend(x[:, 0, 0, 0])
    assert sorted(values) == list(range(10))


def test_sizes_must_agree_unless_resized(tmp_path):
    fill(tmp_path)
    save(tmp_path / "dog" / "big.png", grey(200), (9, 9))
    with pytest.raises(DataError, match="image_size"):
        catalog.load(tmp_path)
    data = catalog.load(tmp_path, image_size=(5, 7))
    assert data.info.shapes["x"] == (5, 7, 3)
    values = {
        int(v) for s in data.info.sizes for v in data.arrays(s)[0][:, 2, 3, 0]
    }
    assert values == {*range(8), *range(100, 108), 200}


def test_channels_must_agree(tmp_path):
    fill(tmp_path)
    save(tmp_path / "dog" / "flat.png", 9, mode="L")
    with pytest.raises(DataError, match="number of channels"):
        catalog.load(tmp_path, image_size=(4, 6))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_broken_images_are_named(tmp_path, suffix):
    fill(tmp_path)
    path = tmp_path / "cat" / f"broken.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), "uint8")
    PIL.Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=f"broken.{suffix} is not an image"):
        catalog.load(tmp_path)


def test_folders_without_classes_are_rejected(tmp_path):
    with pytest.raises(DataError, match="one folder of images"):
        catalog.load(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="cat holds no image"):
        catalog.load(tmp_path)
    for i in range(20):
        save(tmp_path / "cat" / f"{i}.png", grey(i))
    with pytest.raises(DataError, match="two classes"):
        catalog.load(tmp_path)
