"""Run directories: what a recipe leaves behind, and later ones start from."""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np

import kbig
from kbig import data
from kbig import export
from kbig.errors import UsageError
from kbig.models.copies import rebuilt
from kbig.reporting.files import write_text
from kbig.reporting.report import plain
from kbig.run_directory import check_free
from kbig.run_directory import recorded_in
from kbig.run_directory import remove_results
from kbig.run_directory import set_artefacts_aside
from kbig.writing import make_directory
from kbig.writing import writing

# Rows kept for later verification: enough for a metric, small on disk.
_SAMPLE_ROWS = 2000
_SAMPLE_BYTES = 64_000_000


@dataclasses.dataclass(frozen=True)
class Run:
    """One run directory, self-contained.

    Args:
        directory: where it is.
        recipe: the recipe that made it.
        config: every value that was in force. Where a model was made of
            another run's, `training` holds the recipe and the values of the
            training that began it, which stand here too unless the recipe
            has values of its own.
    """

    directory: pathlib.Path
    recipe: str
    config: Mapping

    @property
    def training(self) -> Mapping:
        """The recipe and the values of the training that began the model."""
        own = {"recipe": self.recipe, **self.config}
        return self.config.get("training") or own

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike,
        recipe: str,
        config: Mapping,
        overwrite: bool = False,
    ) -> "Run":
        """Makes the directory and writes `config.json`.

        Tokenized text of a run that was interrupted stays, to go on from,
        unless `overwrite` is True. What was exported stays in any case:
        versions count on, and files are replaced once others are proved.
        When a model is saved here, `save_model` renames it.

        Raises:
            UsageError: as of `check_free`, or it cannot be made.
        """
        directory = pathlib.Path(directory)
        check_free(directory, overwrite)
        make_directory(directory)
        remove_results(directory, shards=overwrite)
        run = cls(directory, recipe, _inherited(config))
        run.write_json(
            "config.json",
            {"recipe": recipe, "kbig": kbig.__version__, **config},
        )
        return run

    @classmethod
    def open(cls, directory: str | os.PathLike) -> "Run":
        """Opens the directory of an earlier run.

        Raises:
            UsageError: there is no finished run in it.
        """
        directory = pathlib.Path(directory)
        recorded = recorded_in(directory)
        if recorded is None:
            raise UsageError(
                f"No run directory: {directory} has no config.json of kbig. "
                "Pass the --out of an earlier recipe."
            )
        if not (directory / "model.keras").is_file():
            raise UsageError(
                f"{directory} holds a run that left no model.keras. Let it "
                "finish first, or pass another one."
            )
        recipe = recorded.pop("recipe")
        return cls(directory, recipe, _inherited(recorded))

    def write_json(self, name: str, value) -> None:
        """Writes a JSON file into the directory, in one step."""
        text = json.dumps(plain(value), indent=2, ensure_ascii=False)
        write_text(self.directory / name, text + "\n")

    def save_model(
        self,
        model: keras.Model,
        *,
        vocabulary: Sequence[str] = (),
        class_names: Sequence[str] = (),
    ) -> None:
        """Saves the model with what is needed to use it.

        What an earlier model of this directory was exported to is renamed
        from `artefacts` to `artefacts-earlier-<number>`: it is none of this
        model's, and the only copy.

        Args:
            model: saved without its optimizer, so that
                `keras.models.load_model` needs nothing of kbig.
            vocabulary: of a model that reads text.
            class_names: of a classifier.

        Raises:
            WriteError: there is no room, or no right to write.
        """
        file = self.directory / "model.keras"
        aside = self.directory / ".part-model.keras"
        try:
            with writing(file, aside):
                rebuilt(model).save(aside)
                set_artefacts_aside(self.directory)
                os.replace(aside, file)
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
        if vocabulary:
            data.save_vocabulary(vocabulary, self.directory / "vocabulary.txt")
        if class_names:
            self.write_json("class_names.json", class_names)

    def load_model(self, compile: bool = False) -> keras.Model:
        """Loads the model in safe mode."""
        import keras_hub  # noqa: F401 (registers the layers of a backbone)

        import kbig.compression  # noqa: F401 (registers smaller encoders)
        import kbig.tuning  # noqa: F401 (registers the layers of adapters)

        return keras.models.load_model(
            self.directory / "model.keras", compile=compile
        )

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The WordPiece vocabulary, empty when the model reads no text."""
        path = self.directory / "vocabulary.txt"
        return data.load_vocabulary(path) if path.is_file() else ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, empty when there are none."""
        path = self.directory / "class_names.json"
        return (
            tuple(json.loads(path.read_text("utf-8"))) if path.is_file() else ()
        )

    def tokenizer(self):
        """The tokenizer of the model, None when it reads no text."""
        if not self.vocabulary:
            return None
        return data.tokenizer(
            self.vocabulary,
            self.config["lowercase"],
            self.config.get("strip_accents"),
        )

    def save_samples(
        self, x: np.ndarray, labels: np.ndarray | None = None
    ) -> None:
        """Keeps test rows, so that artefacts can be verified later.

        Args:
            x: strings `(rows,)`, pairs of them `(rows, 2)`, or an array
                `(rows, ...)`.
            labels: integers `(rows,)`, floats to regress, or 0 and 1 a class;
                None where a metric of the outputs alone makes no sense.
        """
        is_text = x.dtype.kind == "O"
        row_bytes = 0 if is_text else x[0].nbytes
        most = min(_SAMPLE_ROWS, _SAMPLE_BYTES // max(1, row_bytes))
        # Spread evenly: neighbours may be alike, as windows of a series are.
        rows = np.linspace(0, len(x) - 1, max(1, min(most, len(x))))
        rows = rows.astype(int)
        x = x[rows]
        if is_text:
            text = json.dumps(x.tolist()).encode()
            x = np.frombuffer(text, np.uint8)
        kept = {"text" if is_text else "x": x}
        if labels is not None:
            kept["labels"] = labels[rows]
        file = self.directory / "samples.npz"
        with writing(file):
            np.savez_compressed(file, **kept)

    def load_samples(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns what `save_samples` kept: `(x, labels)`.

        Raises:
            UsageError: the recipe of this run keeps none.
        """
        path = self.directory / "samples.npz"
        if not path.is_file():
            raise UsageError(
                f"{self.directory} is a run of {self.recipe}, which keeps no "
                "test rows to verify an export with. Pass a run of finetune, "
                "distill, train-image, train-sequence, or what was made of "
                "one."
            )
        with np.load(path) as stored:
            labels = stored["labels"] if "labels" in stored.files else None
            if "text" in stored.files:
                texts = json.loads(stored["text"].tobytes())
                return np.array(texts, dtype=object), labels
            return stored["x"], labels

    def export(
        self,
        formats: Sequence[str],
        directory: str | os.PathLike,
        name: str,
        metrics: Mapping | None = None,
        **options,
    ) -> export.VerifyReport:
        """Exports the model, verified on the rows that were kept.

        Args:
            formats: among `kbig.export.FORMATS`.
            directory: where to.
            name: begins the names of files.
            metrics: for the record in a SavedModel; by default those that
                the run has written.
            **options: `tokenizer_ops`, `free`, `lengths`, `pixels` and
                `latencies` as of `kbig.export.artefacts`.

        Returns:
            What was measured.

        Raises:
            GateError: a gate failed; nothing was written.
        """
        samples, labels = self.load_samples()
        return export.artefacts(
            self.load_model(),
            directory,
            formats,
            name=name,
            samples=samples,
            labels=labels,
            tokenizer=self.tokenizer(),
            sequence_length=self.config.get("sequence_length"),
            class_names=self.class_names,
            task=self.config.get("task") or None,
            about=self._about(metrics),
            **options,
        )

    def _about(self, metrics: Mapping | None) -> dict:
        """What a SavedModel records of the run that it comes from."""
        source = self.config.get("data") or self.training.get("data", "")
        embedded = data.EMBEDDED.get(source)
        written = self.directory / "metrics.json"
        if metrics is None and written.is_file():
            metrics = json.loads(written.read_text("utf-8"))
        return {
            "recipe": self.recipe,
            "configuration": dict(self.config),
            "data": source,
            "data_licence": embedded.licence if embedded else "unknown",
            "metrics": dict(metrics or {}),
        }


def _inherited(config: Mapping) -> dict:
    """What holds of a model also where it was trained by another recipe."""
    training = dict(config.get("training", {}))
    training.pop("recipe", None)
    return {**training, **config}
