"""Ports and checksums of a deployment's files."""

import re

import pytest
import yaml

from kbig.export import manifests
from kbig.export.deployment import deployment
from kbig.export.deployment import write_deployment


@pytest.fixture
def base(tmp_path):
    for version in (2, 10):
        folder = tmp_path / "topics" / str(version)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"")
    return tmp_path / "topics"


@pytest.mark.parametrize(
    "address, published, host",
    [
        ("127.0.0.1", "127.0.0.1:8501:8501", "127.0.0.1"),
        ("10.0.0.7", "10.0.0.7:8501:8501", "10.0.0.7"),
        ("0.0.0.0", "0.0.0.0:8501:8501", "localhost"),
        ("::1", "[::1]:8501:8501", "[::1]"),
    ],
)
def test_ports_are_published_on_the_address(
    address, published, host, base, tmp_path
):
    out = tmp_path / "deploy"
    write_deployment(deployment(base, address=address), out)
    services = yaml.safe_load((out / "docker-compose.yml").read_text())[
        "services"
    ]
    assert services["topics"]["ports"][1] == published
    page = (out / "README.md").read_text()
    assert f"--url http://{host}:8501 " in page
    assert f"--url grpc://{host}:8500 " in page
    assert (f"--address {address}" in page) == (address != "127.0.0.1")


def checksums(base, out, **options):
    write_deployment(deployment(base, **options), out, overwrite=True)
    compose = yaml.safe_load((out / "docker-compose.yml").read_text())
    documents = yaml.safe_load_all((out / "kubernetes.yaml").read_text())
    template = list(documents)[1]["spec"]["template"]["metadata"]
    return (
        compose["services"]["topics"]["labels"]["kbig.checksum.batching"],
        template["annotations"]["checksum/batching"],
    )


def test_servers_restart_for_what_they_read_at_the_start(
    base, tmp_path, monkeypatch
):
    out = tmp_path / "deploy"
    first = checksums(base, out, stable=10)
    assert re.fullmatch("[0-9a-f]{64}", first[0]) and first[0] == first[1]
    # Versions and labels are read while servers run.
    assert checksums(base, out, stable=10, canary=2) == first
    batching = checksums(base, out, stable=10, batch_timeout_ms=3)
    monkeypatch.setattr(manifests, "_ARGUMENTS", ["--rest_api_port=1"])
    arguments = checksums(base, out, stable=10)
    assert len({first, batching, arguments}) == 3
