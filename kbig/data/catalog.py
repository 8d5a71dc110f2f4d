"""Everything that can be loaded by name, and `load` itself."""

import dataclasses
import difflib
import os
import pathlib
from collections.abc import Callable

from kbig.data import files
from kbig.data import tfds
from kbig.data.arrays import read_arrays
from kbig.data.corpora import read_corpus
from kbig.data.dataset import Dataset
from kbig.data.options import call_reader
from kbig.data.options import check_options
from kbig.data.series import read_series
from kbig.data.texts import read_texts
from kbig.errors import UsageError

_FOLDER = pathlib.Path(__file__).parent / "embedded"


@dataclasses.dataclass(frozen=True)
class EmbeddedSet:
    """One data set that comes with kbig.

    Args:
        file: its file in `embedded/`.
        reader: the reader of such files.
        source: where it comes from.
        licence: its licence, in short; `embedded/NOTICE.md` has it in full.
        fixed: options of the reader that are part of the data set.
        options: options of the reader that are the caller's.
    """

    file: str
    reader: Callable[..., Dataset]
    source: str
    licence: str
    fixed: dict = dataclasses.field(default_factory=dict)
    options: tuple[str, ...] = ()


EMBEDDED = {
    "fashion-mnist-small": EmbeddedSet(
        file="fashion_mnist_small.npz",
        reader=read_arrays,
        source="Fashion-MNIST: the first 500 training and 100 test images of "
        "each class",
        licence="MIT, (c) 2017 Zalando SE",
        fixed={
            "class_names": (
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            )
        },
    ),
    "wordnet-topics": EmbeddedSet(
        file="wordnet_topics.csv.gz",
        reader=read_texts,
        source="WordNet 3.0: noun glosses and the topic they belong to",
        licence="WordNet 3.0 licence, (c) 2006 Princeton University",
    ),
    "austen": EmbeddedSet(
        file="austen.txt.xz",
        reader=read_corpus,
        source="six novels by Jane Austen, one chapter a document",
        licence="public domain",
    ),
    "sea-surface-temperature": EmbeddedSet(
        file="sea_surface_temperature.csv.gz",
        reader=read_series,
        source="Gulf of Maine buoy B01 (University of Maine, NERACOOS): "
        "half-hourly temperatures in degrees Celsius, 2016-02 to 2017-03",
        licence="free to use and redistribute, not for legal use",
        fixed={"value_column": "temperature (celsius)"},
        options=("past", "every", "horizon", "period"),
    ),
}


def load(name_or_path: str | os.PathLike, **options) -> Dataset:
    """Loads an embedded set, a tensorflow-datasets set, a file or a folder.

    Args:
        name_or_path: a name in `EMBEDDED`; `tfds:<name>` or
            `tfds:<name>:<config>`; or the path of a table, an `.npz` file,
            a file of tagged words or a folder of them, a text file, a folder
            of text files or a folder of class folders of images.
        **options: those of the kind of data. Tables: `text_column`,
            `pair_column`, `label_column`, `split_column`, `task`
            (`"classification"`, `"multilabel"` or `"regression"`), or
            `kind="series"` with `value_column`, `time_column`, `past`,
            `every`, `horizon`, `period`, or `kind="corpus"` with
            `text_column` and `split_column`, which reads the texts alone,
            each row a document. Text files and tables without a header:
            `kind="tags"` takes them for columns of tagged words.
            Arrays: `kind`, `class_names`. Folders of images: `image_size`.
            tensorflow-datasets: `data_dir`, `image_size`.

    Returns:
        A `Dataset`.

    Raises:
        UsageError: if the name, the path or an option is not known.
        DataError: naming the file and the row that cannot be used.

    Example:
    ```python
    data = kbig.data.load("sea-surface-temperature", horizon=24)
    print(data.info)
    ```
    """
    name = os.fspath(name_or_path)
    if name in EMBEDDED:
        return _load_embedded(name, options)
    if name.startswith("tfds:"):
        return call_reader(
            tfds.read_tfds, name.removeprefix("tfds:"), options, name
        )
    path = pathlib.Path(name).expanduser()
    if path.exists():
        return files.load_path(path, **options)
    raise UsageError(_unknown(name))


def _load_embedded(name, options):
    entry = EMBEDDED[name]
    check_options(options, entry.options, name)
    data = entry.reader(_FOLDER / entry.file, **entry.fixed, **options)
    info = dataclasses.replace(
        data.info, name=name, licence=entry.licence, source=entry.source
    )
    return dataclasses.replace(data, info=info)


def _unknown(name):
    def likeness(known):
        return difflib.SequenceMatcher(None, name, known).ratio()

    nearest = sorted(EMBEDDED, key=likeness, reverse=True)
    forms = "; ".join(kind.form for kind in files.FILE_KINDS)
    return (
        f"There is no data set, file or folder {name!r}. Embedded sets, "
        f"nearest first: {', '.join(nearest)}. Also accepted: "
        f"tfds:<name>[:<config>]; {forms}."
    )
