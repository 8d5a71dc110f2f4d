import dataclasses
import json
import math
import pathlib

import numpy as np
import pytest

from kbig.errors import UsageError
from kbig.reporting.report import Report
from kbig.reporting.report import plain
from kbig.reporting.tables import Percent
from kbig.reporting.tables import Seconds


@dataclasses.dataclass(frozen=True)
class PruningReport(Report):
    sparsity: Percent
    kept_weights: int
    layers: tuple[str, ...] = ()


REPORT = PruningReport(Percent(0.75), np.int64(2500), ("dense", "dense_1"))


def test_saves_its_fields_as_raw_json(tmp_path):
    path = REPORT.save(tmp_path / "new" / "pruning.json")
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "sparsity": 0.75,
        "kept_weights": 2500,
        "layers": ["dense", "dense_1"],
    }


def test_prints_its_scalar_fields_as_a_table():
    lines = str(REPORT).splitlines()
    assert lines[0] == "Pruning report"
    assert lines[3].split() == ["sparsity", "75.00", "%"]
    assert lines[4].split() == ["kept", "weights", "2,500"]
    assert len(lines) == 5


def test_plain_reduces_arrays_paths_and_dataclasses():
    value = {
        "array": np.arange(4, dtype="uint8").reshape(2, 2),
        "scalar": np.float32(0.5),
        "flag": np.bool_(True),
        "path": pathlib.PurePosixPath("a/b"),
        3: (REPORT, None),
    }
    assert plain(value) == {
        "array": [[0, 1], [2, 3]],
        "scalar": 0.5,
        "flag": True,
        "path": "a/b",
        "3": [
            {
                "sparsity": 0.75,
                "kept_weights": 2500,
                "layers": ["dense", "dense_1"],
            },
            None,
        ],
    }


def test_what_json_does_not_have_becomes_none():
    values = [math.nan, math.inf, np.float32("-inf"), Seconds(math.nan)]
    assert plain(values) == [None] * 4
    assert plain(np.array([1.0, np.nan])) == [1.0, None]


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", Report, 1j])
def test_refuses_what_json_cannot_express(value):
    with pytest.raises(UsageError, match="Received: value="):
        plain({"nested": [value]})


def test_a_refused_report_writes_nothing(tmp_path):
    report = PruningReport(Percent(0.5), 1, layers={"unordered"})
    with pytest.raises(UsageError):
        report.save(tmp_path / "pruning.json")
    assert not list(tmp_path.iterdir())
