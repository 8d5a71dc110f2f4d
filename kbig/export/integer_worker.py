"""Run as a script: runs an int8 file beside a float one, tensor by tensor.

A process of its own: it has neither Keras nor TensorFlow, and a file that
ends the interpreter ends only this process. It takes one line of JSON, such
as

    {"int8": "a.tflite", "float32": "b.tflite", "rows": "rows.npz"}

where the rows are arrays by input name, and what the model gives for them by
`expected/` and the output name. Its last line of output is JSON too: about
tensors; about outputs when the float file is null.
"""

import collections
import json
import sys

import numpy as np

_OF_ROUNDING = "FakeQuantWithMinMaxVars"


class File:
    """A .tflite file whose tensors can be looked at."""

    def __init__(self, path: str, keep_tensors: bool):
        from ai_edge_litert import interpreter

        kinds = interpreter.OpResolverType
        # XNNPACK would keep what is between its operations to itself.
        kind = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter = interpreter.Interpreter(
            model_path=path,
            experimental_op_resolver_type=kind if keep_tensors else kinds.AUTO,
            experimental_preserve_all_tensors=keep_tensors,
        )
        self._interpreter.allocate_tensors()
        # What is first in a file, and the only one that is compared.
        self._runner = self._interpreter.get_signature_runner("serving_default")
        details = self._interpreter.get_tensor_details()
        self.details = {x["index"]: x for x in details}
        self._makers = {
            int(number): x
            for x in self._interpreter._get_ops_details()
            if x["op_name"] != "DELEGATE"  # It stands for others.
            for number in x["outputs"]
        }

    def run(self, rows, number: int) -> dict:
        """Runs one row and gives its outputs."""
        inputs = self._runner.get_input_details()
        feeds = {name: rows[name][number : number + 1] for name in inputs}
        return self._runner(
            **{
                name: _given(value, inputs[name])
                for name, value in feeds.items()
            }
        )

    def step(self, output: str) -> float | None:
        """The step of the integers that an output is made of."""
        details = self._runner.get_output_details()[output]
        maker = self._makers.get(details["index"])
        if maker is not None and maker["op_name"] == "DEQUANTIZE":
            details = self.details[int(maker["inputs"][0])]
        return details["quantization"][0] or None

    def grid(self, output: str) -> tuple[float, int]:
        """Scale and zero point of what is given."""
        return self._runner.get_output_details()[output]["quantization"]

    def computed(self) -> dict[str, int]:
        """Numbers of tensors that operations make, by their common name."""
        found = {}
        for number in self._makers:
            name = common_name(self.details[number]["name"])
            # One name for two tensors tells neither.
            found[name] = None if name in found else number
        found.pop("", None)
        return {k: v for k, v in found.items() if v is not None}

    def value(self, number: int) -> np.ndarray:
        """A tensor after a run, as floats."""
        value = self._interpreter.get_tensor(number)
        return as_floats(value, self.details[number]["quantization"])


def common_name(name: str) -> str:
    """What a tensor is called with and without rounding.

    Fused operations join their names; those that round are in one file only.
    """
    parts = [x for x in name.split(";") if x and _OF_ROUNDING not in x]
    return parts[0] if parts else ""


def as_floats(value: np.ndarray, grid) -> np.ndarray:
    """What integers stand for; floats are as they are."""
    scale, zero_point = grid
    if not scale or value.dtype.kind not in "iu":
        return value
    return scale * (value.astype("float64") - zero_point)


def _given(value: np.ndarray, details) -> np.ndarray:
    scale, zero_point = details["quantization"]
    dtype = np.dtype(details["dtype"])
    if not scale or value.dtype.kind != "f" or dtype.kind not in "iu":
        return value.astype(dtype)
    limits = np.iinfo(dtype)
    integers = np.round(value / scale) + zero_point
    return np.clip(integers, limits.min, limits.max).astype(dtype)


class Difference:
    """Sums over rows of how far two tensors are apart."""

    def __init__(self):
        self._count = self._sum = self._squares = self._signal = 0.0
        self._largest = 0.0

    def add(self, got: np.ndarray, expected: np.ndarray) -> None:
        """Adds one row."""
        apart = np.abs(got.astype("float64") - expected)
        self._count += apart.size
        self._sum += float(apart.sum())
        self._squares += float(np.square(apart).sum())
        self._signal += float(np.square(expected.astype("float64")).sum())
        self._largest = max(self._largest, float(apart.max(initial=0)))

    def result(self, step: float | None) -> dict:
        """Largest and mean, and the root of the share of squares."""
        signal = self._signal or 1.0
        return {
            "step": step,
            "largest": self._largest,
            "mean": self._sum / max(self._count, 1),
            "relative": (self._squares / signal) ** 0.5,
        }


def outputs(path: str, rows, count: int) -> dict:
    """How far a file's outputs are from what was expected."""
    file = File(path, keep_tensors=False)
    found = collections.defaultdict(Difference)
    for number in range(count):
        for name, value in file.run(rows, number).items():
            expected = rows[f"expected/{name}"][number : number + 1]
            found[name].add(as_floats(value, file.grid(name)), expected)
    return {name: x.result(file.step(name)) for name, x in found.items()}


def tensors(int8: str, float32: str, rows, count: int) -> tuple[list, int]:
    """How far int8 tensors are from float ones, and how many there are."""
    files = [File(path, keep_tensors=True) for path in (int8, float32)]
    own, other = (file.computed() for file in files)
    integers = {
        name: number
        for name, number in own.items()
        if np.issubdtype(files[0].details[number]["dtype"], np.int8)
    }
    pairs = {
        name: (number, other[name])
        for name, number in integers.items()
        if name in other and _fit(files, number, other[name])
    }
    found = {name: Difference() for name in pairs}
    for row in range(count):
        for file in files:
            file.run(rows, row)
        for name, (number, reference) in pairs.items():
            expected = files[1].value(reference)
            found[name].add(files[0].value(number), expected)
    results = [
        {"tensor": name, **x.result(_step(files[0], pairs[name][0]))}
        for name, x in found.items()
    ]
    return results, len(integers)


def _fit(files, number: int, reference: int) -> bool:
    mine, theirs = files[0].details[number], files[1].details[reference]
    return [*mine["shape"]] == [*theirs["shape"]] and np.issubdtype(
        theirs["dtype"], np.floating
    )


def _step(file: File, number: int) -> float | None:
    return file.details[number]["quantization"][0] or None


def main() -> None:
    """Answers the request on the standard input."""
    request = json.loads(sys.stdin.readline())
    with np.load(request["rows"]) as arrays:
        rows = {name: arrays[name] for name in arrays.files}
    count = len(next(iter(rows.values())))
    if request["float32"]:
        found, whole = tensors(request["int8"], request["float32"], rows, count)
        answer = {"tensors": found, "int8_tensors": whole}
    else:
        answer = {"outputs": outputs(request["int8"], rows, count)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
