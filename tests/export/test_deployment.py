"""The files of a deployment, read back by what reads them."""

import contextlib
import re
import socket
import subprocess
import threading

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from kbig.errors import UsageError
from kbig.export import deployment as deployments
from kbig.export.deployment import FILES
from kbig.export.deployment import deployment
from kbig.export.deployment import write_deployment


@pytest.fixture
def base(tmp_path):
    base = tmp_path / "saved_models" / "topics"
    for version in (1, 2, 10):
        folder = base / str(version)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"")
    (base / "3").mkdir()  # Nothing was published in it.
    (base / "topics-dynamic.tflite").write_bytes(b"")
    return base


@contextlib.contextmanager
def one_answer(body):
    """Yields the port of a server of one request, and what it received."""
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += connection.recv(4096)
                received.append(request)
                head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
                connection.sendall((head + body).encode())

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1], received
        thread.join()


def written(base, tmp_path, **options):
    out = tmp_path / "deploy"
    write_deployment(deployment(base, **options), out)
    return {path.name: path.read_text() for path in out.iterdir()}


def test_models_config_is_what_the_server_reads(base, tmp_path):
    files = written(base, tmp_path, stable=2, canary=10)
    config = text_format.Parse(
        files["models.config"], model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("topics", "/models/topics")
    assert model.model_platform == "tensorflow"
    assert list(model.model_version_policy.specific.versions) == [2, 10]
    assert dict(model.version_labels) == {"stable": 2, "canary": 10}


def test_the_highest_version_is_stable(base, tmp_path):
    files = written(base, tmp_path)
    config = text_format.Parse(
        files["models.config"], model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert dict(model.version_labels) == {"stable": 10}
    assert list(model.model_version_policy.specific.versions) == [10]


def test_batching_config_has_the_fields_of_batching_parameters(base, tmp_path):
    files = written(
        base, tmp_path, max_batch_size=64, batch_timeout_ms=5, cpus=3
    )
    lines = files["batching.config"].splitlines()
    field = re.compile(r"(\w+) { value: (\d+) }")
    values = dict(field.fullmatch(line).groups() for line in lines)
    assert values == {
        "max_batch_size": "64",
        "batch_timeout_micros": "5000",
        "num_batch_threads": "3",
        "max_enqueued_batches": "100",
    }


def test_compose_mounts_models_and_configuration_read_only(base, tmp_path):
    files = written(base, tmp_path)
    (service,) = yaml.safe_load(files["docker-compose.yml"])["services"].items()
    name, service = service
    assert name == "topics"
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", service["image"])
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    models, config = service["volumes"]
    assert models["read_only"] and config["read_only"]
    assert (tmp_path / "deploy" / models["source"]).resolve() == base.resolve()
    assert models["target"] == "/models/topics"
    assert (config["source"], config["target"]) == (".", "/config")
    flags = dict(flag.split("=") for flag in service["command"])
    for flag in ("--model_config_file", "--batching_parameters_file"):
        assert flags[flag].removeprefix("/config/") in FILES


def test_the_health_check_tells_a_loaded_model(base, tmp_path):
    """Against answers of a server, by the shell that the image has."""
    files = written(base, tmp_path)
    services = yaml.safe_load(files["docker-compose.yml"])["services"]
    *bash, script = services["topics"]["healthcheck"]["test"]
    assert bash == ["CMD", "bash", "-c"]
    for state, status in (("AVAILABLE", 0), ("LOADING", 1), ("UNAVAILABLE", 1)):
        with one_answer(f'{{"state": "{state}"}}') as (port, received):
            there = script.replace("8501", str(port))
            done = subprocess.run(["bash", "-c", there], timeout=10)
        assert done.returncode == status
        assert received[0].startswith(b"GET /v1/models/topics HTTP/1.1\r\n")
    done = subprocess.run(
        ["bash", "-c", there], timeout=10, stderr=subprocess.DEVNULL
    )
    assert done.returncode == 1  # Nobody there any more.


def test_kubernetes_manifests_fit_together(base, tmp_path):
    files = written(base, tmp_path, replicas=3, max_replicas=5)
    documents = list(yaml.safe_load_all(files["kubernetes.yaml"]))
    config, pods, service, scaling = documents
    assert [d["kind"] for d in documents] == [
        "ConfigMap",
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
    ]
    assert config["data"]["models.config"] == files["models.config"]
    assert config["data"]["batching.config"] == files["batching.config"]
    template = pods["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert pods["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    (container,) = template["spec"]["containers"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for port in service["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    probe = container["readinessProbe"]["httpGet"]
    assert (probe["path"], ports[probe["port"]]) == ("/v1/models/topics", 8501)
    volumes = {v["name"]: v for v in template["spec"]["volumes"]}
    mounts = {m["name"]: m for m in container["volumeMounts"]}
    assert set(volumes) == set(mounts)
    assert all(mount["readOnly"] for mount in mounts.values())
    name = volumes["config"]["configMap"]["name"]
    assert name == config["metadata"]["name"]
    # The share of the CPU that is measured is one of what is requested.
    assert container["resources"]["requests"]["cpu"] == "2"
    assert "replicas" not in pods["spec"]
    scaled = scaling["spec"]
    assert (scaled["minReplicas"], scaled["maxReplicas"]) == (3, 5)
    assert scaled["scaleTargetRef"]["name"] == pods["metadata"]["name"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"stable": 3}, "1, 2, 10 of .*Received: stable=3"),
        ({"canary": 11}, "canary=11"),
        ({"canary": 10}, "stable=10, canary=10"),
        ({"name": "My_Topics"}, "--name my-topics"),
        ({"name": "1st"}, "DNS label"),
        ({"name": "a" * 51}, "at most 50"),
        ({"name": "topics-"}, "--name topics"),
        ({"image": "tensorflow/serving"}, "names its version"),
        ({"image": "tensorflow/serving:latest"}, "names its version"),
        ({"image": "host:5000/serving"}, "names its version"),
        ({"image": "tensorflow/serving:latest-gpu"}, "names its version"),
        ({"max_batch_size": 4}, "max_batch_size=4. Pass 8"),
        ({"address": "localhost"}, "address='localhost'. Pass 127.0.0.1"),
        ({"address": "10.0.0.256"}, "address='10.0.0.256'"),
        ({"address": "fe80::1%eth0"}, "address='fe80::1%eth0'"),
        ({"address": ""}, "address=''"),
        ({"memory": "2 GB"}, "memory='2 GB'"),
        ({"replicas": 4, "max_replicas": 3}, "max_replicas=3"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(options, message, base):
    with pytest.raises(UsageError, match=message):
        deployment(base, **options)


def test_a_run_directory_has_its_models_among_the_artefacts(tmp_path):
    folder = tmp_path / "runs" / "fashion" / "artefacts" / "1"
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    record = folder / "assets.extra" / "kbig.json"
    record.write_text('{"name": "fashion"}')
    plan = deployment(tmp_path / "runs" / "fashion")
    assert (plan.name, plan.base) == ("fashion", folder.parent)


@pytest.mark.parametrize("what", ["nothing", "empty"])
def test_a_source_without_versions_is_refused(what, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="saved_model.pb"):
        deployment(tmp_path / what)


def test_what_is_there_is_replaced_only_when_asked(base, tmp_path):
    out = tmp_path / "deploy"
    plan = deployment(base)
    assert {path.name for path in write_deployment(plan, out)} == set(FILES)
    with pytest.raises(UsageError, match="--overwrite"):
        write_deployment(plan, out)
    write_deployment(deployment(base, canary=1), out, overwrite=True)
    assert "value: 1\n" in (out / "models.config").read_text()
    assert {path.name for path in out.iterdir()} == set(FILES)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"Received: .*notes.txt"):
        write_deployment(plan, out, overwrite=True)


def test_versions_may_have_leading_zeros(tmp_path):
    folder = tmp_path / "0007"
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    record = folder / "assets.extra" / "kbig.json"
    record.write_text('{"name": "topics"}')
    plan = deployment(tmp_path)
    assert (plan.name, plan.stable) == ("topics", 7)


def test_the_commands_repeat_the_options(base, tmp_path):
    spaced = tmp_path / "my models"
    base.rename(spaced)
    options = {"name": "topics", "memory": "8Gi", "max_batch_size": 64}
    text = written(spaced, tmp_path, **options)["README.md"]
    for part in (
        f"--from '{spaced}' --out {tmp_path / 'deploy'} --overwrite",
        "--name topics --memory 8Gi --max-batch-size 64 --stable 10 --canary N",
    ):
        assert part in text
    assert "--replicas" not in text


def test_what_a_killed_run_left_is_in_nobodys_way(base, tmp_path):
    (tmp_path / "deploy" / ".part-abc").mkdir(parents=True)
    files = write_deployment(deployment(base), tmp_path / "deploy")
    assert {path.name for path in files} == {*FILES}


def test_half_a_deployment_is_never_seen(base, tmp_path, monkeypatch):
    def fails(plan, directory):
        raise OSError("disk full")

    plan = deployment(base)
    monkeypatch.setitem(deployments.FILES, "README.md", fails)
    with pytest.raises(OSError, match="disk full"):
        write_deployment(plan, tmp_path / "deploy")
    assert list((tmp_path / "deploy").iterdir()) == []
