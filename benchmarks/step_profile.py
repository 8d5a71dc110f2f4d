"""Where the time of a pretraining step goes, by kind of operation.

python benchmarks/step_profile.py
python benchmarks/step_profile.py --sides kbig kerashub

TensorFlow's own profiler, over a few warm steps: an operation's time without
that of what it calls. What two threads do at once counts for both.
"""

import argparse
import collections
import glob
import pathlib
import re
import tempfile
import types

import numpy as np
import pretraining_sides
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

import kbig
from kbig.reporting import show
from kbig.reporting.tables import Percent
from kbig.reporting.tables import Table

# By the first that is found in the type of an operation, or in what XLA calls
# a loop. Waiting and dispatch are neither.
KINDS = (
    ("matrix products", r"MatMul|dot"),
    ("loops that XLA compiled", r"fusion|wrapped_|reduce|transpose|copy"),
    ("optimizer", r"ApplyAdam|^Assign|^AddN$|L2Loss"),
    ("casts", r"Cast"),
    ("random numbers", r"Random"),
    ("moves", r"Transpose|Concat|Reshape|Gather|Unpack|Slice|Scatter|Segment"),
    (
        "elementwise",
        r"Mul|Add|Sub|Div|Sqrt|Tanh|Sum|Mean|Max|Softmax|Pow|Select|Greater|Neg"
        r"|Square|Bias|Tile|Erf|Exp",
    ),
)
# Threads that compute, and those that prepare batches; of these all counts,
# waiting too.
COMPUTING, PREPARING = r"tf_Compute|Eigen", r"^tf_data"
INPUT = "input pipeline, at most"

OPTIONS = tf.profiler.experimental.ProfilerOptions(
    host_tracer_level=2, python_tracer_level=0, device_tracer_level=0
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", nargs="+", default=["kbig", "kerashub"])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--sequence-length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    for side in options.sides:
        show(profiled(side, options))


def profiled(side, options):
    """The table of one side."""
    settings = types.SimpleNamespace(
        mode="rows",
        size={"num_layers": 6, "hidden_dim": 384, "num_heads": 12},
        vocabulary_size=8000,
    )
    train = pretraining_sides.keras_side(side, settings)
    train(stream(options), options.steps)
    with tempfile.TemporaryDirectory() as directory:
        tf.profiler.experimental.start(directory, OPTIONS)
        seconds, _ = train(stream(options), options.steps)
        tf.profiler.experimental.stop()
        busy = times(directory)
    total = sum(busy.values())
    step = seconds / (options.steps - 1)
    return Table(
        title=f"{side}: {1000 * step:.0f} ms a step",
        columns=("operations", "share of the time of all threads"),
        rows=[
            (kind, Percent(busy[kind] / total))
            for kind in (*dict(KINDS), INPUT)
            if busy[kind]
        ],
    )


def stream(options):
    """Batches of full rows, the same for every side."""
    random = np.random.default_rng(0)
    rows = random.integers(
        5, 8000, (64 * options.batch_size, options.sequence_length)
    )
    return kbig.data.masked_batches(
        rows,
        options.batch_size,
        vocabulary_size=8000,
        mask_id=4,
        special_ids=range(5),
        max_predictions=round(options.sequence_length * 20 / 128),
        training=True,
    )


def times(directory):
    """Nanoseconds of each kind: innermost events of TensorFlow's threads."""
    (path,) = glob.glob(f"{directory}/**/*.xplane.pb", recursive=True)
    space = xplane_pb2.XSpace.FromString(pathlib.Path(path).read_bytes())
    busy = collections.Counter()
    for plane in space.planes:
        if not plane.name.startswith("/host:CPU"):
            continue
        names = {key: each.name for key, each in plane.event_metadata.items()}
        for line in plane.lines:
            if re.search(PREPARING, line.name):
                busy[INPUT] += sum(own for _, own in innermost(line, names))
            if not re.search(COMPUTING, line.name):
                continue
            for name, nanoseconds in innermost(line, names):
                busy[kind_of(name)] += nanoseconds
    del busy[None]
    return busy


def innermost(line, names):
    """Names and times of events, less those of the events within."""
    open_events = []
    for event in sorted(
        line.events, key=lambda e: (e.offset_ps, -e.duration_ps)
    ):
        end = event.offset_ps + event.duration_ps
        while open_events and open_events[-1][1] <= event.offset_ps:
            name, _, own = open_events.pop()
            yield name, own / 1000
        if open_events:
            open_events[-1][2] -= event.duration_ps
        open_events.append([names[event.metadata_id], end, event.duration_ps])
    for name, _, own in open_events:
        yield name, own / 1000


def kind_of(name):
    operation = name.split("#")[0].rpartition(":")[2]
    return next(
        (kind for kind, found in KINDS if re.search(found, operation)), None
    )


if __name__ == "__main__":
    main()
