"""The matmul peak of this machine, in float32 and bfloat16, and its memory.

python benchmarks/matmul_peak.py --json peak.json

Takes about ten seconds. Measures TensorFlow, and PyTorch where it is
installed: both call oneDNN, but not with the same kernels.
"""

import argparse
import json
import statistics
import time

import tensorflow as tf

from kbig.reporting.tables import Table
from kbig.training import matmul_peak
from kbig.training.devices import present_devices

DTYPES = ("float32", "bfloat16")


def torch_peak(dtype: str, size: int, seconds: float) -> float | None:
    """Does in PyTorch what `matmul_peak` does; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.randn((size, size), generator=generator).to(getattr(torch, dtype))
        for _ in range(2)
    )
    torch.matmul(left, right)
    durations = []
    while sum(durations) < seconds:
        begin = time.perf_counter()
        torch.matmul(left, right)
        durations.append(time.perf_counter() - begin)
    return 2e-9 * size**3 / statistics.median(durations)


def memory_bandwidth(seconds: float, floats: int = 2**26) -> float:
    """Bytes read and written a nanosecond, of a pass over a large tensor."""
    x, y = tf.random.uniform((floats,)), tf.Variable(tf.zeros((floats,)))
    durations = []
    while sum(durations) < seconds:
        begin = time.perf_counter()
        y.assign_add(x)
        durations.append(time.perf_counter() - begin)
    return 3e-9 * x.dtype.size * floats / statistics.median(durations)


def measure(sizes: list[int], seconds: float) -> list[tuple]:
    """One row a dtype and size: GFLOP/s of TensorFlow and of PyTorch."""
    return [
        (
            dtype,
            size,
            matmul_peak(dtype, size, seconds),
            torch_peak(dtype, size, seconds),
        )
        for dtype in DTYPES
        for size in sizes
    ]


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", help="file for the best of each dtype")
    arguments = parser.parse_args()
    rows = measure(arguments.sizes, arguments.seconds)
    features = ", ".join(present_devices().cpu_features) or "none"
    print(
        Table(
            title="Matmul peak, GFLOP/s",
            columns=("dtype", "size", "TensorFlow", "PyTorch"),
            rows=rows,
            note=f"The CPU's instructions for bfloat16: {features}. Memory: "
            f"{memory_bandwidth(arguments.seconds):.1f} GB/s.",
        )
    )
    if arguments.json:
        best = {
            dtype: max(
                value
                for row in rows
                for value in row[2:]
                if row[0] == dtype
                if value is not None
            )
            for dtype in DTYPES
        }
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({f"{k}_gflops": v for k, v in best.items()}, file)


if __name__ == "__main__":
    main()
