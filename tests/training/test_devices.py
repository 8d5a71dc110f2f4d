import pytest

from kbig.training.devices import Devices
from kbig.training.devices import choose_precision
from kbig.training.devices import choose_strategy
from kbig.training.devices import choose_xla
from kbig.training.devices import count_workers
from kbig.training.devices import present_devices
from tests.contracts import check_usage_error

CPU = Devices()
A100 = Devices(((8, 0),))
TWO_A100 = Devices(((8, 0), (8, 0)))
TWO_WORKERS = '{"cluster": {"worker": ["a:1", "b:1"]}}'
CLUSTER = Devices(((8, 0), (8, 0)), num_workers=2)


@pytest.mark.parametrize(
    "requested, devices, expected",
    [
        ("auto", CPU, "none"),
        ("auto", A100, "none"),
        ("auto", TWO_A100, "mirrored"),
        ("none", TWO_A100, "none"),
        ("mirrored", CPU, "mirrored"),
        ("mirrored", CLUSTER, "mirrored"),
    ],
)
def test_strategy(requested, devices, expected):
    assert choose_strategy(requested, devices)[0] == expected


@pytest.mark.parametrize(
    "capabilities, expected",
    [
        ((), "float32"),
        (((9, 0),), "mixed_bfloat16"),
        (((8, 0),), "mixed_bfloat16"),
        (((7, 5),), "mixed_float16"),
        (((7, 0),), "mixed_float16"),
        (((6, 1),), "float32"),
        (((8, 0), (7, 5)), "mixed_float16"),
        ((None,), "float32"),
    ],
)
def test_precision(capabilities, expected):
    assert choose_precision("auto", Devices(capabilities))[0] == expected


def test_requested_precision_wins_and_a_slow_one_is_called_so():
    assert choose_precision("float32", A100)[0] == "float32"
    assert choose_precision("mixed_float16", A100)[1] == "as requested"
    precision, reason = choose_precision("mixed_float16", CPU)
    assert precision == "mixed_float16"
    assert "slow" in reason


@pytest.mark.parametrize(
    "requested, devices, num_replicas, expected",
    [
        ("auto", CPU, 1, False),
        ("auto", A100, 1, True),
        ("auto", TWO_A100, 1, True),
        ("auto", TWO_A100, 2, False),
        (True, CPU, 1, True),
        (False, A100, 1, False),
    ],
)
def test_xla(requested, devices, num_replicas, expected):
    assert choose_xla(requested, devices, num_replicas)[0] is expected


@pytest.mark.parametrize(
    "requested, num_replicas, expected",
    [("auto", 1, True), ("auto", 2, False), (False, 1, False)],
)
def test_xla_where_it_pays_on_a_cpu(requested, num_replicas, expected):
    chosen, _ = choose_xla(requested, CPU, num_replicas, pays_on_cpu=True)
    assert chosen is expected


@pytest.mark.parametrize(
    "tf_config, expected",
    [
        (None, 1),
        ("{}", 1),
        ('{"cluster": {"worker": ["a:1"]}}', 1),
        (TWO_WORKERS, 2),
        ('{"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}}', 3),
    ],
)
def test_count_workers(tf_config, expected):
    assert count_workers(tf_config) == expected


def test_present_devices_reads_the_environment():
    assert present_devices({"TF_CONFIG": TWO_WORKERS}).num_workers == 2
    assert present_devices({}).num_workers == 1


@pytest.mark.parametrize(
    "call, fragments",
    [
        (lambda: choose_strategy("auto", CLUSTER), ("num_workers=2",)),
        (lambda: count_workers("[]"), ("TF_CONFIG='[]'",)),
        (lambda: count_workers("{"), ("TF_CONFIG='{'",)),
    ],
)
def test_mistakes(call, fragments):
    check_usage_error(call, *fragments)
