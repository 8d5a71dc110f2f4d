import pytest
import tensorflow as tf

from kbig.errors import UsageError
from kbig.training import devices
from kbig.training.devices import Devices
from kbig.training.devices import bfloat16_features
from kbig.training.devices import check_bfloat16
from kbig.training.devices import check_mirrored
from kbig.training.devices import choose_fused
from kbig.training.devices import choose_precision
from kbig.training.devices import choose_strategy
from kbig.training.devices import choose_xla
from kbig.training.devices import count_workers
from kbig.training.devices import present_devices
from tests.contracts import check_usage_error

CPU = Devices()
AMX = Devices(cpu_features=("amx_bf16",))
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


def test_several_replicas_do_not_choose_float16():
    """See test_keras_still_misses_the_overflow_of_a_second_replica."""
    v100s, a100s = Devices(((7, 0), (7, 5))), TWO_A100
    precision, reason = choose_precision("auto", v100s, num_replicas=2)
    assert precision == "float32"
    assert "overflow" in reason
    assert choose_precision("auto", v100s)[0] == "mixed_float16"
    chosen, _ = choose_precision("auto", a100s, num_replicas=2)
    assert chosen == "mixed_bfloat16"
    _, reason = choose_precision("mixed_float16", v100s, num_replicas=2)
    assert "overflow" in reason


def test_float16_on_one_mirrored_gpu_is_refused():
    with pytest.raises(UsageError, match='Pass strategy="none"'):
        check_mirrored("mirrored", "mixed_float16", A100)
    check_mirrored("none", "mixed_float16", A100)
    check_mirrored("mirrored", "mixed_bfloat16", A100)
    check_mirrored("mirrored", "mixed_float16", CPU)
    check_mirrored("mirrored", "mixed_float16", TWO_A100)


def test_requested_precision_wins_and_a_slow_one_is_called_so():
    assert choose_precision("float32", A100)[0] == "float32"
    assert choose_precision("mixed_float16", A100)[1] == "as requested"
    precision, reason = choose_precision("mixed_float16", CPU)
    assert precision == "mixed_float16"
    assert "slow" in reason


@pytest.mark.parametrize(
    "devices, xla, expected",
    [
        (CPU, "auto", "float32"),
        (AMX, "auto", "onednn_bfloat16"),
        (AMX, False, "onednn_bfloat16"),
        (AMX, True, "float32"),
        (Devices(cpu_features=("avx512_bf16",)), "auto", "onednn_bfloat16"),
        (Devices(((7, 0),), 1, ("amx_bf16",)), "auto", "mixed_float16"),
    ],
)
def test_bfloat16_on_a_cpu(devices, xla, expected):
    assert choose_precision("auto", devices, xla)[0] == expected


def test_reasons_name_the_instructions():
    assert "amx_bf16" in choose_precision("auto", AMX)[1]
    _, reason = choose_precision("onednn_bfloat16", CPU)
    assert "not faster" in reason
    chosen, reason = choose_xla("auto", AMX, 1, True, "onednn_bfloat16")
    assert not chosen
    assert "bfloat16" in reason


def test_what_xla_compiles_is_in_float32():
    for precision in (
        choose_precision("auto", AMX, "auto", xla_pays_on_cpu=True),
        choose_precision("auto", AMX, True),
    ):
        assert precision[0] == "float32"
    precision = choose_precision("auto", AMX, False, xla_pays_on_cpu=True)
    assert precision[0] == "onednn_bfloat16"


def test_bfloat16_only_where_it_pays():
    precision, reason = choose_precision(
        "auto", AMX, bfloat16_pays_on_cpu=False
    )
    assert precision == "float32"
    assert "this model" in reason
    for requested, there, expected in (
        ("onednn_bfloat16", AMX, "onednn_bfloat16"),
        ("auto", A100, "mixed_bfloat16"),
    ):
        chosen = choose_precision(requested, there, bfloat16_pays_on_cpu=False)
        assert chosen[0] == expected


@pytest.mark.parametrize(
    "requested, devices, xla, expected",
    [
        ("auto", CPU, False, True),
        ("auto", AMX, False, True),
        ("auto", CPU, True, False),
        ("auto", A100, False, False),
        (True, A100, True, True),
        (False, AMX, False, False),
    ],
)
def test_fused(requested, devices, xla, expected):
    chosen, reason = choose_fused(requested, devices, xla)
    assert chosen is expected
    assert (reason == "as requested") is (requested != "auto")


@pytest.fixture
def measured_anew():
    devices._is_bfloat16_faster.cache_clear()
    yield
    devices._is_bfloat16_faster.cache_clear()


def test_what_is_not_measured_to_be_faster_is_not_used(
    monkeypatch, measured_anew
):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(devices, "_cpu_description", lambda: "flags: amx_bf16")
    for peak, expected in ((1.2, ()), (1.5, ("amx_bf16",))):
        devices._is_bfloat16_faster.cache_clear()
        monkeypatch.setattr(
            devices,
            "matmul_peak",
            lambda dtype, peak=peak, **_: peak if dtype == "bfloat16" else 1.0,
        )
        assert present_devices({}).cpu_features == expected
        for name, value, allowed in (
            ("TF_ENABLE_ONEDNN_OPTS", "0", False),
            ("ONEDNN_MAX_CPU_ISA", "AVX2", False),
            ("ONEDNN_MAX_CPU_ISA", "avx512_core", False),
            ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", True),
            ("DNNL_MAX_CPU_ISA", "AVX512_CORE_VNNI", False),
        ):
            found = present_devices({name: value}).cpu_features
            assert found == (expected if allowed else ())


@pytest.mark.parametrize(
    "dtype, limits, is_refused",
    [
        ("bfloat16", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, True),
        ("mixed_bfloat16", {"DNNL_MAX_CPU_ISA": "sse41"}, True),
        ("onednn_bfloat16", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, False),
        ("onednn_bfloat16", {}, False),
        ("mixed_float16", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, False),
        (
            "bfloat16",
            {"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_ENABLE_ONEDNN_OPTS": "0"},
            False,
        ),
    ],
)
def test_products_that_would_end_the_process(
    dtype, limits, is_refused, monkeypatch
):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    if is_refused:
        limit = next(iter(limits))
        check_usage_error(lambda: check_bfloat16(dtype, limits), dtype, limit)
    else:
        check_bfloat16(dtype, limits)


@pytest.mark.parametrize(
    "description, expected",
    [
        ("", ()),
        ("Features : bf16\n", ()),
        ("flags\t: fpu avx512_bf16 amx_bf16\n", ("amx_bf16", "avx512_bf16")),
        ("flags: amx_bf16 fma\nvmx flags: x\n", ("amx_bf16",)),
        ("flags: amx_bf16\nmodel: a\nflags: fpu\n", ()),
        ("flags: amx_bf16x\n", ()),
        ("flags: avx512_bf16 fma\n", ("avx512_bf16",)),
    ],
)
def test_bfloat16_features(description, expected):
    assert bfloat16_features(description) == expected


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
    switched_off = present_devices({"TF_ENABLE_ONEDNN_OPTS": "0"})
    assert switched_off.cpu_features == ()


@pytest.mark.parametrize(
    "call, fragments",
    [
        (lambda: choose_strategy("auto", CLUSTER), ("num_workers=2",)),
        (lambda: count_workers("[]"), ("TF_CONFIG='[]'",)),
        (lambda: count_workers("{"), ("TF_CONFIG='{'",)),
        (
            lambda: choose_precision("onednn_bfloat16", A100),
            ("1 GPUs", '"mixed_bfloat16"'),
        ),
        (
            lambda: choose_precision("onednn_bfloat16", AMX, xla=True),
            ("xla=True",),
        ),
    ],
)
def test_mistakes(call, fragments):
    check_usage_error(call, *fragments)
