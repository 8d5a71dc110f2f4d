import dataclasses
import json

import pytest

from kbig.errors import UsageError
from recipes import config as configs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(configs.RecipeConfig):
    quick_values = {"epochs": 1, "rate": 0.5}

    from_: str = configs.option("", "where from")
    epochs: int = configs.option(3, "passes", minimum=1)
    xla: str = configs.option("auto", "XLA", ("auto", "on", "off"))
    rate: float = configs.option(0.1, "learning rate")
    cell: str = configs.option("lstm", "cell", ("lstm", "gru"))
    units: tuple[int, ...] = configs.option((64,), "sizes")
    names: tuple[str, ...] = configs.option(("a",), "names", ("a", "b"))
    shuffle: bool = configs.option(True, "order")


def test_the_command_wins_over_the_file_and_the_file_over_defaults():
    built = configs.build(
        Config,
        {"epochs": 5, "rate": 1, "from": "here"},
        {"epochs": "7", "units": "32, 16", "shuffle": "false"},
    )
    assert (built.epochs, built.rate, built.from_) == (7, 1.0, "here")
    assert (built.units, built.shuffle, built.cell) == ((32, 16), False, "lstm")


def test_quick_changes_defaults_but_nothing_that_was_given():
    built = configs.build(Config, {"rate": 0.3}, {"quick": True})
    assert (built.epochs, built.rate) == (1, 0.3)


def test_formats_are_those_of_the_export():
    from kbig import export

    assert tuple(export.FORMATS) == configs.FORMATS


def test_yaml_s_own_booleans_and_nulls(tmp_path):
    (tmp_path / "c.yaml").write_text("xla: off\nfrom:\nepochs: 4\n")
    values = configs.read_config_file(str(tmp_path / "c.yaml"))
    built = configs.build(Config, values, {})
    assert (built.xla, built.from_, built.epochs) == ("off", "", 4)


def test_sizes_may_be_alike():
    assert configs.build(Config, {}, {"units": "8,8"}).units == (8, 8)


def test_none_empties_a_list():
    assert configs.build(Config, {}, {"names": "none"}).names == ()


@pytest.mark.parametrize(
    "values, message",
    [
        ({"epoch": 3}, "Did you mean epochs"),
        ({"zzz": 3}, "Known: cell, dry_run"),
        ({"epochs": "three"}, "takes an integer. Received: 'three'"),
        ({"epochs": 2.5}, "takes an integer"),
        ({"epochs": True}, "takes an integer"),
        ({"epochs": 0}, "at least 1. Received: 0"),
        ({"rate": "fast"}, "takes a number"),
        ({"cell": "rnn"}, "one of lstm, gru"),
        ({"units": "32,x"}, "integers between commas"),
        ({"names": "a,c"}, "one of a, b. Received: 'a,c'"),
        ({"names": "a,b,a"}, "names one twice. Received: 'a,b,a'"),
        ({"shuffle": "maybe"}, "true or false"),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(UsageError, match=message):
        configs.build(Config, {}, values)


@pytest.mark.parametrize(
    "name, text",
    [
        ("c.yaml", "epochs: 4\nunits: [8, 8]\n"),
        ("c.json", '{"epochs": 4, "units": [8, 8]}'),
    ],
)
def test_files_are_yaml_or_json(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    values = configs.read_config_file(str(tmp_path / name))
    built = configs.build(Config, values, {})
    assert (built.epochs, built.units) == (4, (8, 8))


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(text, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"c\.yaml"):
        configs.read_config_file(str(tmp_path / "c.yaml"))


def test_what_a_run_recorded_repeats_it(tmp_path):
    built = configs.build(Config, {}, {"epochs": "9", "units": "1,2"})
    recorded = {"recipe": "r", "kbig": "0", **configs.to_dict(built)}
    (tmp_path / "config.json").write_text(json.dumps(recorded))
    values = configs.read_config_file(str(tmp_path / "config.json"))
    assert configs.build(Config, values, {}) == built


def test_a_recorded_run_replaces_none_unasked(tmp_path):
    path = tmp_path / "config.json"
    recorded = {"recipe": "r", "kbig": "0", "overwrite": True, "epochs": 4}
    path.write_text(json.dumps(recorded))
    assert configs.read_config_file(str(path)) == {"epochs": 4}
    path.write_text(json.dumps({"overwrite": True}))
    assert configs.read_config_file(str(path)) == {"overwrite": True}
