import threading

import pytest

from kbig.errors import UsageError
from kbig.export import staging


def test_nothing_stays_of_a_failure(tmp_path):
    with (
        pytest.raises(RuntimeError),
        staging.staging(tmp_path / "models") as aside,
    ):
        (aside / "half").write_text("written")
        raise RuntimeError
    assert list((tmp_path / "models").iterdir()) == []


def test_a_file_is_replaced_in_one_step(tmp_path):
    (tmp_path / "m.tflite").write_text("old")
    with staging.staging(tmp_path) as aside:
        (aside / "m.tflite").write_text("new")
        path = staging.publish_file(aside / "m.tflite", tmp_path)
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["m.tflite"]


def test_versions_count_on_and_ignore_other_names(tmp_path):
    for name in ("1", "10", "latest", "2.bak"):
        (tmp_path / name).mkdir()
    assert staging.latest_version(tmp_path) == 10
    (tmp_path / "new").mkdir()
    assert staging.publish_version(tmp_path / "new", tmp_path).name == "11"


def test_two_exports_at_once_get_two_versions(tmp_path):
    published, start = [], threading.Barrier(8)

    def export(number):
        with staging.staging(tmp_path) as aside:
            (aside / "m").mkdir()
            (aside / "m" / "number").write_text(str(number))
            start.wait()
            published.append(staging.publish_version(aside / "m", tmp_path))

    threads = [threading.Thread(target=export, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(p.name for p in published) == list("12345678")
    numbers = {(p / "number").read_text() for p in published}
    assert numbers == set("01234567")


def test_a_file_in_the_way_is_the_callers_mistake(tmp_path):
    (tmp_path / "models").write_text("a file")
    with (
        pytest.raises(UsageError, match="Cannot write into"),
        staging.staging(tmp_path / "models"),
    ):
        pass
