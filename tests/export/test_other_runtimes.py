"""Second opinions: other programs that read what kbig writes.

OpenVINO is in the extra `bench`. For the others set KBIG_NODE_MODULES to the
`node_modules` that `npm install --ignore-scripts onnxruntime-node
onnxruntime-web @litertjs/core` fills, and have `node` and `chromium`.
"""

import functools
import http.server
import json
import os
import pathlib
import queue
import shutil
import subprocess
import threading

import numpy as np
import pytest

from kbig.export import compare
from kbig.export.kinds import weights_of
from kbig.export.samples import named_samples
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import call_by_name
from kbig.export.signatures import model_signatures
from tests.export.onnx_files import onnx_file
from tests.export.test_litert_kernels import litert_file
from tests.export.test_litert_kernels import prepared

pytestmark = pytest.mark.slow
NODE_MODULES = os.environ.get("KBIG_NODE_MODULES", "")
HERE = pathlib.Path(__file__).parent


every_model = pytest.mark.parametrize(
    "name", ["cnn-residual", "bert_classifier"]
)
every_mode = pytest.mark.parametrize("mode", ["float32", "dynamic", "int8"])


def saved_model(model, x, folder, monkeypatch, mode):
    folder = folder / "saved_model"
    write_saved_model(model_signatures(model), folder)
    return folder


def tflite(model, x, folder, monkeypatch, mode):
    return litert_file(model, x, folder, mode)


def needs(program, package):
    if not shutil.which(program):
        pytest.skip(f"There is no {program}.")
    if not (pathlib.Path(NODE_MODULES or "none") / package).is_dir():
        pytest.skip(f"KBIG_NODE_MODULES has no {package}.")


def check(outputs, model, samples, file):
    """The outputs by name, beside those of Keras."""
    expected = call_by_name(model, samples)
    assert set(outputs) == set(expected)
    for name, value in expected.items():
        difference = compare.largest_difference(
            outputs[name], np.asarray(value)
        )
        assert difference <= compare.TOLERANCES[weights_of(file)]


@every_model
@pytest.mark.parametrize(
    "write, mode",
    [
        (saved_model, "float32"),
        (tflite, "float32"),
        (tflite, "dynamic"),
        (tflite, "int8"),
        (onnx_file, "float32"),
        (onnx_file, "dynamic"),
        (onnx_file, "int8"),
    ],
)
def test_openvino_agrees(write, mode, name, tmp_path, monkeypatch):
    openvino = pytest.importorskip("openvino")
    model, x = prepared(name, mode)
    file = write(model, x, tmp_path, monkeypatch, mode)
    samples = named_samples(model, x)
    # By default it computes in bfloat16 where the processor can.
    compiled = openvino.Core().compile_model(
        str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    feeds = [
        next(samples[k] for k in samples if k in port.any_name)
        for port in compiled.inputs
    ]
    rows = [
        compiled([array[i : i + 1] for array in feeds])[0]
        for i in range(len(feeds[0]))
    ]
    check({"logits": np.concatenate(rows)}, model, samples, file)


def as_json(samples):
    return {
        name: [str(array.dtype), array.shape, array.ravel().tolist()]
        for name, array in samples.items()
    }


@every_mode
@every_model
@pytest.mark.parametrize("package", ["onnxruntime-node", "onnxruntime-web"])
def test_onnx_in_javascript(package, name, mode, tmp_path, monkeypatch):
    needs("node", package)
    model, x = prepared(name, mode)
    file = onnx_file(model, x, tmp_path, monkeypatch, mode)
    samples = named_samples(model, x)
    process = subprocess.run(
        ["node", HERE / "onnx_answers.mjs", NODE_MODULES, package, file],
        input=json.dumps(as_json(samples)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    outputs = {
        name: np.array(values, type).reshape(shape)
        for name, (type, shape, values) in json.loads(process.stdout).items()
    }
    check(outputs, model, samples, file)


@pytest.fixture
def site(tmp_path):
    """A folder, the address that serves it, and what was posted there."""
    posted = queue.Queue()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_POST(self):  # noqa: N802
            size = int(self.headers["Content-Length"])
            posted.put(json.loads(self.rfile.read(size)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}/page.html", posted
    server.shutdown()
    server.server_close()


def in_a_browser(site, profile):
    """What the page posts."""
    _, address, posted = site
    options = [
        "--headless",
        "--no-sandbox",  # It refuses root otherwise.
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ]
    with subprocess.Popen(
        ["chromium", *options, address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as browser:
        try:
            return posted.get(timeout=120)
        finally:
            browser.terminate()


@every_mode
@every_model
def test_litert_in_a_browser(name, mode, site, tmp_path_factory):
    needs("chromium", "@litertjs/core")
    folder = site[0]
    model, x = prepared(name, mode)
    file = litert_file(model, x, folder, mode)
    samples = named_samples(model, x)
    count = len(next(iter(samples.values())))
    rows = [
        as_json({k: v[i : i + 1] for k, v in samples.items()})
        for i in range(count)
    ]
    shutil.copy(HERE / "litert_answers.html", folder / "page.html")
    file.rename(folder / "model.tflite")
    (folder / "inputs.json").write_text(json.dumps(rows))
    (folder / "node_modules").symlink_to(NODE_MODULES)
    found = in_a_browser(site, tmp_path_factory.mktemp("profile"))
    assert "error" not in found, found
    outputs = {
        key: np.array([row[key] for row in found], "float32")
        for key in found[0]
    }
    check(outputs, model, samples, folder / "model.tflite")
