"""What a run can compute on, and what follows from it."""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Mapping

import tensorflow as tf

from kbig.errors import UsageError
from kbig.models.arguments import check_choice
from kbig.training.flops import matmul_peak

STRATEGIES = ("auto", "none", "mirrored", "multiworker")
ONEDNN_BFLOAT16 = "onednn_bfloat16"
PRECISIONS = (
    "auto",
    "float32",
    "mixed_bfloat16",
    "mixed_float16",
    ONEDNN_BFLOAT16,
)
# Flags of Linux on x86 with which matrix products in bfloat16 may be faster
# than in float32: with avx512_bf16 alone twice as fast on one CPU and half as
# fast on another. So it is measured.
BFLOAT16_FEATURES = ("amx_bf16", "avx512_bf16")
# What limits oneDNN to instruction sets, and what stands in the names of those
# that have bfloat16.
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_BFLOAT16_LIMITS = ("BF16", "FP16", "AMX", "AVX10", "ALL", "DEFAULT")
# With less than these, which emulate it, TensorFlow ends the process at the
# first product.
_MULTIPLYING = (*_BFLOAT16_LIMITS, "AVX512", "AVX2_VNNI_2")
# The reason for what was not left to "auto".
REQUESTED = "as requested"
_COMPARED = ("bfloat16", "float32")
_FASTER = 1.3
_UNSAFE = "; of float16 Keras sees overflow on the first replica only"


@dataclasses.dataclass(frozen=True)
class Devices:
    """What a run can compute on.

    Args:
        capabilities: the CUDA compute capability of each GPU, as (8, 0); None
            where the driver does not tell.
        num_workers: machines in the cluster that TF_CONFIG describes.
        cpu_features: those of `BFLOAT16_FEATURES` that the CPU has, where
            they make it faster.
    """

    capabilities: tuple[tuple[int, int] | None, ...] = ()
    num_workers: int = 1
    cpu_features: tuple[str, ...] = ()


def present_devices(environment: Mapping[str, str] = os.environ) -> Devices:
    """Looks at this machine's GPUs and CPU, and at TF_CONFIG.

    A CPU that may be faster in bfloat16 multiplies a few matrices first, once
    in a process; with that TensorFlow is started.

    Args:
        environment: where to look up TF_CONFIG, TF_ENABLE_ONEDNN_OPTS, which
            switches oneDNN off, and ONEDNN_MAX_CPU_ISA, which limits it.

    Returns:
        The devices.

    Raises:
        UsageError: when TF_CONFIG cannot be read.

    Example:
    ```python
    present_devices().num_workers  # 1
    ```
    """
    capabilities = tuple(
        tf.config.experimental.get_device_details(gpu).get("compute_capability")
        for gpu in tf.config.list_physical_devices("GPU")
    )
    features = ()
    if not capabilities and _has_bfloat16(environment):
        features = bfloat16_features(_cpu_description())
    return Devices(
        capabilities,
        count_workers(environment.get("TF_CONFIG")),
        features if features and _is_bfloat16_faster() else (),
    )


def bfloat16_features(description: str) -> tuple[str, ...]:
    """Finds what a CPU has for fast matrix products in bfloat16.

    Args:
        description: the text of Linux's `/proc/cpuinfo`.

    Returns:
        Those of `BFLOAT16_FEATURES` that every core has.

    Example:
    ```python
    bfloat16_features("flags : fpu avx512_bf16")  # ("avx512_bf16",)
    ```
    """
    cores = [
        set(line.split(":", 1)[1].split())
        for line in description.splitlines()
        if line.startswith("flags") and ":" in line
    ]
    common = set.intersection(*cores) if cores else set()
    return tuple(name for name in BFLOAT16_FEATURES if name in common)


def count_workers(tf_config: str | None) -> int:
    """Counts the machines that train in a cluster.

    Args:
        tf_config: the value of TF_CONFIG, or None when it is not set.

    Returns:
        The number of workers, the chief included; 1 without a cluster.

    Raises:
        UsageError: when the value is not a JSON object of the known form.

    Example:
    ```python
    count_workers('{"cluster": {"worker": ["a:1", "b:1"]}}')  # 2
    ```
    """
    if not tf_config:
        return 1
    try:
        cluster = json.loads(tf_config).get("cluster", {})
        workers = len(cluster.get("worker", ())) + len(cluster.get("chief", ()))
    except (ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            "TF_CONFIG must be a JSON object with a `cluster` of `worker` "
            f"addresses. Received: TF_CONFIG={tf_config!r}. Correct or unset "
            "it."
        ) from error
    return max(workers, 1)


def choose_strategy(requested: str, devices: Devices) -> tuple[str, str]:
    """Chooses how copies of the model are spread.

    Args:
        requested: one of `STRATEGIES`.
        devices: what there is.

    Returns:
        "none" or "mirrored", and the reason.

    Raises:
        UsageError: when the request is unknown, or when several workers would
            have to train together, which Keras cannot.

    Example:
    ```python
    choose_strategy("auto", Devices(((8, 0), (8, 0))))[0]  # "mirrored"
    ```
    """
    check_choice("strategy", requested, STRATEGIES)
    in_cluster = requested == "auto" and devices.num_workers > 1
    if requested == "multiworker" or in_cluster:
        raise UsageError(
            "Keras's `fit` cannot train on several workers: it fails on the "
            "first batch of MultiWorkerMirroredStrategy. Received: "
            f"strategy={requested!r}, num_workers={devices.num_workers}. "
            'Unset TF_CONFIG, or pass strategy="mirrored" to use this '
            "machine alone."
        )
    if requested != "auto":
        return requested, REQUESTED
    num_gpus = len(devices.capabilities)
    if num_gpus > 1:
        return "mirrored", f"{num_gpus} GPUs"
    return "none", "one GPU" if num_gpus else "no GPU"


def choose_precision(
    requested: str,
    devices: Devices,
    xla: str | bool = "auto",
    num_replicas: int = 1,
    xla_pays_on_cpu: bool = False,
    bfloat16_pays_on_cpu: bool = True,
) -> tuple[str, str]:
    """Chooses a precision that every device present computes fast in.

    With several replicas that is never float16: Keras's loss scaling looks
    for overflow in the gradients of the first alone, and one elsewhere turns
    all weights into NaN.

    Args:
        requested: one of `PRECISIONS`.
        devices: what there is.
        xla: what is requested of XLA, which oneDNN's rewrite does not reach.
        num_replicas: copies of the model that train in step.
        xla_pays_on_cpu: whether the model is one that XLA makes faster on a
            CPU.
        bfloat16_pays_on_cpu: whether it is one that gains by products in
            bfloat16 where a CPU has them.

    Returns:
        The precision's name and the reason.

    Raises:
        UsageError: when the request is unknown, or is oneDNN's bfloat16
            beside a GPU or with XLA.

    Example:
    ```python
    choose_precision("auto", Devices(((7, 5),)))[0]  # "mixed_float16"
    ```
    """
    check_choice("precision", requested, PRECISIONS)
    if requested == ONEDNN_BFLOAT16:
        _check_rewrite(devices, xla)
    if requested != "auto":
        warning = _warning(requested, devices, num_replicas)
        return requested, REQUESTED + warning
    if devices.capabilities:
        return _gpu_precision(devices.capabilities, num_replicas)
    if not devices.cpu_features:
        return "float32", "no GPU; bfloat16 is not faster on this CPU"
    if not bfloat16_pays_on_cpu:
        return "float32", "no GPU; this model does not gain by bfloat16"
    if xla is True or (xla == "auto" and xla_pays_on_cpu and num_replicas == 1):
        return "float32", "no GPU; oneDNN's bfloat16 does not reach into XLA"
    return ONEDNN_BFLOAT16, f"no GPU; faster by {devices.cpu_features[0]}"


def _gpu_precision(capabilities, num_replicas: int) -> tuple[str, str]:
    if None in capabilities:
        return "float32", "a GPU does not tell its compute capability"
    weakest = min(capabilities)
    reason = f"compute capability {weakest[0]}.{weakest[1]}"
    if weakest >= (8, 0):
        return "mixed_bfloat16", reason
    if weakest >= (7, 0) and num_replicas > 1:
        return "float32", reason + _UNSAFE
    if weakest >= (7, 0):
        return "mixed_float16", reason
    return "float32", f"{reason} has no tensor cores"


def _warning(requested: str, devices: Devices, num_replicas: int) -> str:
    if requested == ONEDNN_BFLOAT16 and not devices.cpu_features:
        return "; not faster on this CPU"
    warning = ""
    if requested == "mixed_float16":
        if not devices.capabilities:
            warning += "; slow, since CPUs emulate float16"
        if num_replicas > 1:
            warning += _UNSAFE
    return warning


def _check_rewrite(devices: Devices, xla: str | bool) -> None:
    if devices.capabilities or xla is True:
        raise UsageError(
            "oneDNN's bfloat16 is for CPUs, and does not reach into XLA. "
            f'Received: precision="{ONEDNN_BFLOAT16}", xla={xla!r}, '
            f"{len(devices.capabilities)} GPUs. "
            'Pass precision="mixed_bfloat16", or leave XLA off.'
        )


def check_mirrored(strategy: str, precision: str, devices: Devices) -> None:
    """Raises where Keras's loss scaling fails at the first step.

    Args:
        strategy: what `choose_strategy` chose.
        precision: what `choose_precision` chose.
        devices: what there is.

    Raises:
        UsageError: float16 on one GPU that is mirrored.
    """
    alone = len(devices.capabilities) == 1
    if strategy == "mirrored" and precision == "mixed_float16" and alone:
        raise UsageError(
            "Keras cannot scale the loss of float16 under MirroredStrategy on "
            "one GPU: `merge_call` fails at the first step. Received: "
            f'strategy="mirrored", precision="{precision}", 1 GPU. Pass '
            'strategy="none", or precision="mixed_bfloat16".'
        )


def check_bfloat16(
    dtype: str, environment: Mapping[str, str] = os.environ
) -> None:
    """Raises where TensorFlow would end the process at the first product.

    Args:
        dtype: of the products, or the name of a precision.
        environment: where to look up what limits oneDNN.

    Raises:
        UsageError: it is bfloat16, and oneDNN may not use instructions that
            it needs for that.

    Example:
    ```python
    check_bfloat16("bfloat16", {"ONEDNN_MAX_CPU_ISA": "AVX2"})  # Raises.
    ```
    """
    limits = {
        name: environment[name]
        for name in _LIMITS
        if not _names_any(environment.get(name, "ALL"), _MULTIPLYING)
    }
    if "bfloat16" not in dtype or not limits or not _uses_onednn(environment):
        return
    if not tf.config.list_physical_devices("GPU"):
        limit = ", ".join(f"{name}={value}" for name, value in limits.items())
        raise UsageError(
            "TensorFlow ends the process at the first product in bfloat16 "
            f"where oneDNN is limited to less than AVX512. Received: {dtype}, "
            f"with {limit}. Take float32, or unset the variable."
        )


def choose_fused(
    requested: str | bool, devices: Devices, xla: bool
) -> tuple[bool, str]:
    """Chooses whether encoders compute as `kbig.training.fused` has it.

    Args:
        requested: "auto", True or False.
        devices: what there is.
        xla: what `choose_xla` chose.

    Returns:
        Whether to fuse and the reason.

    Raises:
        UsageError: when the request is unknown.

    Example:
    ```python
    choose_fused("auto", Devices(), xla=False)[0]  # True
    ```
    """
    check_choice("fused", requested, ("auto", True, False))
    if requested != "auto":
        return bool(requested), REQUESTED
    if xla:
        return False, "XLA fuses the whole step"
    if devices.capabilities:
        return False, "a GPU"
    return True, "no GPU; encoders, within `fusing`, read memory less often"


def choose_xla(
    requested: str | bool,
    devices: Devices,
    num_replicas: int,
    pays_on_cpu: bool = False,
    precision: str = "float32",
) -> tuple[bool, str]:
    """Chooses whether XLA compiles the training step.

    Args:
        requested: "auto", True or False.
        devices: what there is.
        num_replicas: copies of the model that train in step.
        pays_on_cpu: whether the model is one that XLA makes faster on a CPU.
        precision: what `choose_precision` chose.

    Returns:
        Whether to compile and the reason.

    Raises:
        UsageError: when the request is unknown, or True with several
            replicas.

    Example:
    ```python
    choose_xla("auto", Devices(), num_replicas=1)[0]  # False
    ```
    """
    check_choice("xla", requested, ("auto", True, False))
    if requested is True and num_replicas > 1:
        raise UsageError(
            "XLA cannot compile a step that several replicas take together: "
            "TensorFlow finds a variable on a different device. Received: "
            f'xla=True, num_replicas={num_replicas}. Pass xla="auto" or '
            'strategy="none".'
        )
    if requested != "auto":
        return bool(requested), REQUESTED
    if num_replicas > 1:
        return False, f"fails with {num_replicas} replicas"
    if devices.capabilities:
        return True, "one GPU"
    if precision == ONEDNN_BFLOAT16:
        return False, "oneDNN's bfloat16 is faster, and excludes it"
    if pays_on_cpu:
        return True, "pays for this model on a CPU"
    return False, "no GPU; on a CPU it pays for some models only"


def _has_bfloat16(environment: Mapping[str, str]) -> bool:
    """Whether oneDNN is on, and not limited to less than bfloat16."""
    return _uses_onednn(environment) and all(
        _names_any(environment.get(name, "ALL"), _BFLOAT16_LIMITS)
        for name in _LIMITS
    )


def _uses_onednn(environment: Mapping[str, str]) -> bool:
    return environment.get("TF_ENABLE_ONEDNN_OPTS") != "0"


@functools.cache
def sums_in_float32() -> bool:
    """Measures whether a CPU's softmax of bfloat16 has sums in float32.

    Returns:
        True where oneDNN computes it; elsewhere errors are up to 8 %.

    Example:
    ```python
    sums_in_float32()  # True
    ```
    """
    with tf.init_scope(), tf.device("CPU:0"):
        scores = tf.linspace(-3.0, 3.0, 500)[None]
        scores = tf.cast(scores, "bfloat16")
        found = tf.cast(tf.nn.softmax(scores), "float32")
        exact = tf.nn.softmax(tf.cast(scores, "float32"))
        return bool(tf.reduce_max(tf.abs(found / exact - 1)) < 0.01)


def _names_any(limit: str, names: tuple[str, ...]) -> bool:
    return any(name in limit.upper() for name in names)


@functools.cache
def _is_bfloat16_faster() -> bool:
    # In turns, and the best of each: others may be at work.
    turns = [
        [matmul_peak(dtype, size=512, seconds=0.05) for dtype in _COMPARED]
        for _ in range(2)
    ]
    bfloat16, float32 = map(max, zip(*turns))
    return bfloat16 > _FASTER * float32


def _cpu_description() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    return path.read_text("utf-8", "replace") if path.is_file() else ""
