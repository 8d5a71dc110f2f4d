"""Where and how a run computes: strategy, precision, compilation, seed."""

import contextlib
import dataclasses
import functools
import types
from collections.abc import Iterator
from collections.abc import Mapping

import keras
import tensorflow as tf

from kbig.errors import UsageError
from kbig.training.devices import ONEDNN_BFLOAT16
from kbig.training.devices import REQUESTED
from kbig.training.devices import check_bfloat16
from kbig.training.devices import check_mirrored
from kbig.training.devices import choose_fused
from kbig.training.devices import choose_precision
from kbig.training.devices import choose_strategy
from kbig.training.devices import choose_xla
from kbig.training.devices import present_devices
from kbig.training.encoders import fused as fused_encoders
from kbig.training.encoders import is_fusable

_REWRITE = "auto_mixed_precision_onednn_bfloat16"
# What fused encoders multiply in, where that is not float32.
_PRODUCTS = {
    ONEDNN_BFLOAT16: "bfloat16",
    "mixed_bfloat16": "bfloat16",
}


@dataclasses.dataclass(frozen=True, init=False, eq=False)
class Runtime:
    """Decides once how a run computes, and says why.

    With "auto", two GPUs or more are mirrored; the precision is what the
    GPU's tensor cores are made for, save float16 on several GPUs, which Keras
    does not guard against overflow; XLA compiles on a single GPU. A CPU that
    multiplies faster in bfloat16, which is measured once, gets
    "onednn_bfloat16", any other one float32. On a CPU XLA compiles only
    where `xla_pays_on_cpu`, and in float32; otherwise encoders are fused.

    "onednn_bfloat16" leaves the model in float32, and has TensorFlow compute
    its matrix products in bfloat16; what is fused is kept in it between two
    of them. It holds for what runs within `scope`,
    so call `fit` there; `predict` and `export` outside stay exact.

    "mirrored" without a GPU takes all logical CPU devices. "multiworker", and
    "auto" in a cluster, are refused: `fit` of Keras 3.15 cannot train under
    `MultiWorkerMirroredStrategy`.

    Args:
        strategy: "auto", "none", "mirrored" or "multiworker".
        precision: "auto", "float32", "mixed_bfloat16", "mixed_float16" or
            "onednn_bfloat16".
        xla: "auto", True or False.
        seed: of Python, NumPy and TensorFlow, non-negative.
        xla_pays_on_cpu: whether XLA's "auto" compiles on a CPU too. It suits
            long chains of elementwise operations, as of fake quantization.
        fused: "auto", True or False: whether `fusing` changes how encoders
            compute.
        bfloat16_pays_on_cpu: whether precision's "auto" takes bfloat16 on a
            CPU that has it. Recurrent layers, with their small products one
            after another, and fake quantization do not gain.

    Attributes:
        strategy: the `tf.distribute.Strategy`.
        strategy_name: "none" or "mirrored".
        precision: "onednn_bfloat16", or the name of the Keras dtype policy.
        jit_compile: what to pass to `model.compile`.
        num_replicas: copies of the model that train in step.
        fused: whether `fusing` does anything.
        seed: as received.
        reasons: why each of "strategy", "precision", "xla" and "fused" is
            what it is.

    Raises:
        UsageError: when an argument is unknown, or when the choices exclude
            each other, the machine or what limits oneDNN.

    Example:
    ```python
    runtime = Runtime(precision="mixed_bfloat16")
    with runtime.scope():
        model = kbig.models.mlp((4,), 2)
        with runtime.fusing(model):
            model.compile("adam", "mse", jit_compile=runtime.jit_compile)
            model.fit(x, y)
    print(runtime)
    ```
    """

    strategy: tf.distribute.Strategy
    strategy_name: str
    precision: str
    jit_compile: bool
    num_replicas: int
    fused: bool
    seed: int
    reasons: Mapping[str, str]

    def __init__(
        self,
        strategy: str = "auto",
        precision: str = "auto",
        xla: str | bool = "auto",
        seed: int = 0,
        xla_pays_on_cpu: bool = False,
        fused: str | bool = "auto",
        bfloat16_pays_on_cpu: bool = True,
    ):
        _check_seed(seed)
        devices = present_devices()
        name, strategy_reason = choose_strategy(strategy, devices)
        chosen = _STRATEGIES[name]()
        num_replicas = chosen.num_replicas_in_sync
        chosen_precision, precision_reason = choose_precision(
            precision,
            devices,
            xla,
            num_replicas,
            xla_pays_on_cpu,
            bfloat16_pays_on_cpu,
        )
        check_bfloat16(chosen_precision)
        check_mirrored(name, chosen_precision, devices)
        jit_compile, xla_reason = choose_xla(
            xla, devices, num_replicas, xla_pays_on_cpu, chosen_precision
        )
        is_fused, fused_reason = choose_fused(fused, devices, jit_compile)
        reasons = {
            "strategy": strategy_reason,
            "precision": precision_reason,
            "xla": xla_reason,
            "fused": fused_reason,
        }
        self._freeze(
            strategy=chosen,
            strategy_name=name,
            precision=chosen_precision,
            jit_compile=jit_compile,
            num_replicas=num_replicas,
            fused=is_fused,
            seed=seed,
            reasons=types.MappingProxyType(reasons),
        )

    def _freeze(self, **attributes) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    @contextlib.contextmanager
    def scope(self) -> Iterator["Runtime"]:
        """Seeds, and puts policy and strategy in force until it is left.

        Returns:
            A context manager to build, compile and fit a model in.

        Example:
        ```python
        runtime = Runtime()
        with runtime.scope():
            model = kbig.models.mlp((4,), 2)
            model.compile("adam", "mse", jit_compile=runtime.jit_compile)
            model.fit(x, y)
        ```
        """
        previous = keras.config.dtype_policy()
        rewrites = self.precision == ONEDNN_BFLOAT16
        keras.utils.set_random_seed(self.seed)
        keras.config.set_dtype_policy("float32" if rewrites else self.precision)
        try:
            with _graph_rewrite(rewrites), self.strategy.scope():
                yield self
        finally:
            keras.config.set_dtype_policy(previous)

    def fusing(
        self, model: keras.Model
    ) -> contextlib.AbstractContextManager[int]:
        """Lets a model's encoders compute as `kbig.training.fused` has it.

        Compile and fit inside.

        Args:
            model: built; it is as before afterwards.

        Returns:
            A context manager that gives how many encoders it fused: none
            unless `fused`.

        Raises:
            UsageError: `fused=True` was passed, and no encoder can be.

        Example:
        ```python
        with runtime.scope(), runtime.fusing(model):
            model.compile("adam", "mse", jit_compile=runtime.jit_compile)
            model.fit(x, y)
        ```
        """
        if not self.fused:
            return contextlib.nullcontext(0)
        self.check_fusable(model)
        return fused_encoders(model, _PRODUCTS.get(self.precision, "float32"))

    def check_fusable(self, model: keras.Model) -> None:
        """Raises where encoders were to be fused at all events, and cannot.

        Args:
            model: built.

        Raises:
            UsageError: `fused=True` was passed, and no encoder can be.

        Example:
        ```python
        Runtime(fused=True).check_fusable(kbig.models.bert("tiny"))
        ```
        """
        is_requested = self.fused and self.reasons["fused"] == REQUESTED
        if is_requested and not any(map(is_fusable, model._flatten_layers())):
            raise UsageError(
                "fused=True needs an encoder that can be fused: KerasHub's, "
                "without adapters, fake quantization or normalization first. "
                f'Received: the model "{model.name}", which has none. Pass '
                'fused="auto".'
            )

    def report(self) -> dict:
        """What was chosen and why, ready for JSON.

        Returns:
            A dict of `strategy`, `replicas`, `precision`, `xla`, `fused`,
            `seed` and `reasons`.

        Example:
        ```python
        json.dumps(Runtime().report())
        ```
        """
        return {
            "strategy": self.strategy_name,
            "replicas": self.num_replicas,
            "precision": self.precision,
            "xla": self.jit_compile,
            "fused": self.fused,
            "seed": self.seed,
            "reasons": dict(self.reasons),
        }

    def __str__(self) -> str:
        report = self.report()
        reasons = report.pop("reasons")
        lines = []
        for name, value in report.items():
            reason = f"  ({reasons[name]})" if name in reasons else ""
            lines.append(f"{name:<10} {value}{reason}")
        return "\n".join(lines)


@contextlib.contextmanager
def _graph_rewrite(wanted: bool):
    """Sets what TensorFlow asks for at every call of a function."""
    options = tf.config.optimizer.get_experimental_options()
    before = options.get(_REWRITE, False)
    try:
        if wanted != before:
            tf.config.optimizer.set_experimental_options({_REWRITE: wanted})
        yield
    finally:
        if wanted != before:
            tf.config.optimizer.set_experimental_options({_REWRITE: before})


def _check_seed(seed: int) -> None:
    if not isinstance(seed, int) or seed < 0:
        raise UsageError(
            "`seed` must be a non-negative integer. "
            f"Received: seed={seed!r}. Pass 0 for the default."
        )


# One for the process: the collectives of a second one clash with the first's.
@functools.cache
def _mirrored() -> tf.distribute.Strategy:
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.MirroredStrategy()
    cpus = tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([cpu.name for cpu in cpus])


_STRATEGIES = {
    "none": tf.distribute.get_strategy,
    "mirrored": _mirrored,
}
