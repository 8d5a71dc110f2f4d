"""Run as a script: loads one artefact and answers requests, a line each.

A process of its own: it has no Keras, and a file that ends the interpreter
ends only this process. Requests are JSON lines on stdin:

    {"run": "in.npz", "out": "out.npz"}   every signature, once `in` has all,
                                          as `<signature>/<input>` or `<input>`
    {"prepare": "in.npz", "signature": "ids"}   keeps rows to be timed with
    {"time": 10, "rows": 1, "signature": "ids"}      seconds of ten calls

Answers are JSON lines on what was stdout at the start.
"""

import importlib.util
import json
import os
import pathlib
import sys
import time
import types

import numpy as np


class SavedModelRunner:
    """A SavedModel in TensorFlow, loaded without Keras."""

    def __init__(self, path: str, threads: int):
        _keep_keras_out()
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        if has_other_ops(path):
            for library in _tokenizer_libraries():
                tf.load_op_library(library)
        start = time.perf_counter()
        self._model = tf.saved_model.load(path)
        self.load_seconds = time.perf_counter() - start
        self._constant = tf.constant
        self._functions = self._model.signatures
        self.inputs = {
            name: list(function.structured_input_signature[1])
            for name, function in self._functions.items()
        }
        self.runtime = f"TensorFlow {tf.__version__}"

    def call(self, signature: str, feeds: dict) -> dict:
        """Runs a batch."""
        function = self._functions[signature]
        specs = function.structured_input_signature[1]
        tensors = {
            k: self._constant(_as_pixels(v, specs[k].dtype.as_numpy_dtype))
            for k, v in feeds.items()
        }
        outputs = function(**tensors)
        return {name: value.numpy() for name, value in outputs.items()}


def _keep_keras_out() -> None:
    """Puts empty modules where TensorFlow would import Keras by itself."""
    for name in ("keras", "tf_keras"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__spec__ = None


def has_other_ops(path: str) -> bool:
    """Whether a SavedModel has ops that TensorFlow itself lacks."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    content = pathlib.Path(path, "saved_model.pb").read_bytes()
    return any(
        not hasattr(tf.raw_ops, op.name)
        for graph in saved_model_pb2.SavedModel.FromString(content).meta_graphs
        for op in graph.meta_info_def.stripped_op_list.op
    )


def _tokenizer_libraries() -> list[str]:
    """The ops of tensorflow-text, as a server links them: no Python code."""
    spec = importlib.util.find_spec("tensorflow_text")
    if spec is None:
        return []
    folder = pathlib.Path(spec.origin).parent / "python" / "ops"
    return sorted(map(str, folder.glob("*.so")))


class LiteRTRunner:
    """A .tflite file in ai-edge-litert, one call a row if its batch is 1."""

    def __init__(self, path: str, threads: int):
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter

        start = time.perf_counter()
        self._interpreter = Interpreter(model_path=path, num_threads=threads)
        self._interpreter.allocate_tensors()
        self.load_seconds = time.perf_counter() - start
        names = self._interpreter.get_signature_list()
        self._runners = {
            name: self._interpreter.get_signature_runner(name) for name in names
        }
        self.inputs = {name: names[name]["inputs"] for name in names}
        version = getattr(ai_edge_litert, "__version__", "")
        self.runtime = f"LiteRT {version}".strip()

    def call(self, signature: str, feeds: dict) -> dict:
        """Runs a batch, row by row if it must."""
        runner = self._runners[signature]
        rows = len(next(iter(feeds.values())))
        given, taken = runner.get_input_details(), runner.get_output_details()
        feeds = {
            k: _as_pixels(_rounded(v, given[k]), given[k]["dtype"])
            for k, v in feeds.items()
        }
        free = all(given[k]["shape_signature"][0] == -1 for k in feeds)
        step = rows if free else 1
        outputs = [
            runner(**{k: v[i : i + step] for k, v in feeds.items()})
            for i in range(0, rows, step)
        ]
        joined = {
            k: np.concatenate([o[k] for o in outputs]) for k in outputs[0]
        }
        return {k: _as_floats(v, taken[k]) for k, v in joined.items()}


def _as_pixels(array: np.ndarray, dtype) -> np.ndarray:
    """Floats that are pixels, for what takes bytes."""
    if dtype != np.uint8 or array.dtype.kind != "f":
        return array
    pixels = array.astype(np.uint8)
    return pixels if np.array_equal(pixels, array) else array


def _rounded(array: np.ndarray, details: dict) -> np.ndarray:
    """Floats as the integers that a file takes in their place."""
    scale, zero = details["quantization"]
    dtype = details["dtype"]
    if not scale or array.dtype.kind != "f" or np.dtype(dtype).kind != "i":
        return array
    limits = np.iinfo(dtype)
    integers = np.round(array / scale) + zero
    return np.clip(integers, limits.min, limits.max).astype(dtype)


def _as_floats(array: np.ndarray, details: dict) -> np.ndarray:
    """What the integers that a file gives stand for."""
    scale, zero = details["quantization"]
    if not scale or array.dtype.kind != "i":
        return array
    return (np.float32(scale) * (array.astype(np.float32) - zero)).astype(
        np.float32
    )


class OnnxRunner:
    """An .onnx file in onnxruntime, of any batch."""

    def __init__(self, path: str, threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # Errors.
        start = time.perf_counter()
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self.load_seconds = time.perf_counter() - start
        self._outputs = [x.name for x in self._session.get_outputs()]
        names = [x.name for x in self._session.get_inputs()]
        self.inputs = {"serving_default": names}
        self.runtime = f"onnxruntime {onnxruntime.__version__}"

    def call(self, signature: str, feeds: dict) -> dict:
        """Runs a batch."""
        values = self._session.run(self._outputs, feeds)
        return dict(zip(self._outputs, values))


# By the suffix of the file; a folder has none.
RUNNERS = {
    "": SavedModelRunner,
    ".tflite": LiteRTRunner,
    ".onnx": OnnxRunner,
}


class Server:
    """Answers requests about one artefact."""

    def __init__(self, runner):
        self._runner = runner
        self._rows = {}

    def run(self, source: str, target: str) -> dict:
        """Runs every signature, once all inputs are in the file `source`."""
        with np.load(source) as arrays:
            samples = {name: _loaded(arrays[name]) for name in arrays.files}
        inputs = self._runner.inputs
        feeds = {k: _feeds(k, names, samples) for k, names in inputs.items()}
        untried = [
            signature
            for signature, names in inputs.items()
            if signature.startswith("__") or set(names) - set(feeds[signature])
        ]
        outputs = {}
        for signature in () if untried else inputs:
            own = feeds[signature]
            self._rows[signature] = {k: v[:1] for k, v in own.items()}
            for name, value in self._in_batches(signature, own).items():
                outputs[f"{signature}/{name}"] = _storable(value)
        try:
            np.savez(target, **outputs)
        except OSError:
            # On a full disk there would be no room to say so either.
            pathlib.Path(target).unlink(missing_ok=True)
            raise
        return {"ran": list(inputs), "untried": untried}

    def _in_batches(self, signature, feeds, size=256):
        rows = len(next(iter(feeds.values())))
        parts = [
            self._runner.call(
                signature, {k: v[i : i + size] for k, v in feeds.items()}
            )
            for i in range(0, rows, size)
        ]
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

    def prepare(self, source: str, signature: str) -> dict:
        """Keeps rows for one signature, which need not be run."""
        with np.load(source) as arrays:
            samples = {name: _loaded(arrays[name]) for name in arrays.files}
        names = self._runner.inputs[signature]
        self._rows[signature] = _feeds(signature, names, samples)
        return {"missing": sorted({*names} - {*self._rows[signature]})}

    def time(self, calls: int, rows: int, signature: str) -> dict:
        """Times calls of a signature: one row it ran, or those prepared."""
        feeds = {k: v[:rows] for k, v in self._rows[signature].items()}
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            self._runner.call(signature, feeds)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}


def _feeds(signature: str, names, samples: dict) -> dict:
    """What a signature takes of the samples, its own ones first."""
    found = {
        name: samples.get(f"{signature}/{name}", samples.get(name))
        for name in names
    }
    return {k: v for k, v in found.items() if v is not None}


def _loaded(array: np.ndarray) -> np.ndarray:
    """Strings without the byte that ends each."""
    if array.dtype.kind != "S":
        return array
    strings = np.empty(len(array), object)
    strings[:] = [string[:-1] for string in array.tolist()]
    return strings


def _storable(array: np.ndarray) -> np.ndarray:
    """Strings as bytes of fixed width: npz without pickle."""
    if array.dtype.kind != "O":
        return array
    return np.array(array.tolist(), dtype=np.bytes_)


def main() -> None:
    """Serves the artefact `argv[1]` with `argv[2]` threads."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Whatever a library prints must not look like an answer.
    path, threads = sys.argv[1], int(sys.argv[2])
    suffix = "" if os.path.isdir(path) else pathlib.Path(path).suffix
    runner = RUNNERS[suffix](path, threads)
    server = Server(runner)
    loaded = {
        "load_seconds": runner.load_seconds,
        "runtime": runner.runtime,
        "keras": "keras.src" in sys.modules,
        "inputs": runner.inputs,
    }
    print(json.dumps(loaded), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        if "run" in request:
            answer = server.run(request["run"], request["out"])
        elif "prepare" in request:
            answer = server.prepare(request["prepare"], request["signature"])
        else:
            answer = server.time(
                request["time"], request["rows"], request["signature"]
            )
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
