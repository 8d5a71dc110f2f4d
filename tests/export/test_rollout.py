"""Labels that move while servers run, against TF Serving's own rule."""

import itertools
import re
import shutil

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from kbig.errors import UsageError
from kbig.export.deployment import deployment
from kbig.export.deployment import write_deployment

STEP = re.compile(r"--stable (\d+)(?: --canary (\d+))?")


class Server:
    """`ServerCore::ReloadConfig` of TF Serving, which reads what is there."""

    def __init__(self, out):
        self.file, self.labels, self.loaded = out / "models.config", {}, set()

    def poll(self):
        config = text_format.Parse(
            self.file.read_text(), model_server_config_pb2.ModelServerConfig()
        )
        (model,) = config.model_config_list.config
        for label, version in model.version_labels.items():
            moves = self.labels.get(label, version) != version
            assert not moves or version in self.loaded, "FAILED_PRECONDITION"
        self.labels = dict(model.version_labels)
        self.loaded = {*model.model_version_policy.specific.versions}


@pytest.fixture
def base(tmp_path):
    for version in (1, 2, 3):
        folder = tmp_path / "topics" / str(version)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"")
    return tmp_path / "topics"


@pytest.fixture
def write(base, tmp_path):
    def write(stable=None, canary=None, **options):
        plan = deployment(base, stable=stable, canary=canary)
        write_deployment(plan, tmp_path / "deploy", overwrite=True, **options)

    return write


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path / "deploy")


PLANS = [(s, c) for s in (1, 2, 3) for c in (None, 1, 2, 3) if s != c]


@pytest.mark.parametrize("old, new", itertools.product(PLANS, PLANS))
def test_servers_follow_every_change_or_the_steps_to_it(
    old, new, write, server
):
    write(*old)
    server.poll()
    try:
        write(*new)
    except UsageError as error:
        steps = STEP.findall(str(error))
        assert steps[-1] == (str(new[0]), str(new[1] or ""))
        for stable, canary in steps:
            write(int(stable), int(canary) if canary else None)
            server.poll()
    server.poll()
    assert server.labels == {
        label: version
        for label, version in zip(("stable", "canary"), new)
        if version
    }
    write(*new)
    server.poll()
    # Back to what was stable, without a step between.
    write(old[0])
    server.poll()
    assert server.labels == {"stable": old[0]}


@pytest.mark.parametrize(
    "old, new, message",
    [
        (
            (1,),
            (),
            "Received: stable from 1 to 3; loaded 1. First pass "
            "--stable 1 --canary 3, then --stable 3, each",
        ),
        (
            (1, 2),
            (3,),
            "loaded 1, 2. First pass --stable 1, then --stable 1 --canary 3, "
            "then --stable 3, each",
        ),
        (
            (1, 2),
            (1, 3),
            "canary from 2 to 3; loaded 1, 2. First pass --stable 1, then "
            "--stable 1 --canary 3, each",
        ),
    ],
)
def test_a_refused_move_names_the_steps_and_writes_nothing(
    old, new, message, write, tmp_path
):
    write(*old)
    before = {p: p.read_text() for p in (tmp_path / "deploy").iterdir()}
    with pytest.raises(UsageError, match=re.escape(message)):
        write(*new)
    assert before == {p: p.read_text() for p in (tmp_path / "deploy").iterdir()}


def test_restarted_servers_take_any_version(write, server):
    write(1)
    write(3, restart=True)
    server.poll()
    assert (server.labels, server.loaded) == ({"stable": 3}, {1, 3})


def test_only_the_last_stable_version_is_kept(write, server):
    for plan in [(1,), (1, 2), (2,), (2, 3)]:
        write(*plan)
        server.poll()
    assert server.loaded == {1, 2, 3}
    write(3)
    server.poll()
    assert server.loaded == {2, 3}
    write(3)
    assert "versions: 2" in server.file.read_text()


def test_versions_whose_folder_is_gone_are_not_kept(base, write, server):
    write(1, 2)
    server.poll()
    shutil.rmtree(base / "1")
    write(2)
    server.poll()
    assert server.loaded == {2}
    shutil.rmtree(base / "2")
    with pytest.raises(UsageError, match="folder of version 2 is gone"):
        write(3)
    write(3, restart=True)
    assert server.file.read_text().count("versions:") == 1


def test_another_model_starts_anew(base, write, server):
    write(1)
    write_deployment(
        deployment(base, name="other"), server.file.parent, overwrite=True
    )
    assert 'name: "other"' in server.file.read_text()


@pytest.mark.parametrize("content", [b"", b"\xff", b"model_config_list {}"])
def test_a_configuration_of_another_form_needs_a_restart(
    content, write, server
):
    write(1)
    server.file.write_bytes(content)
    with pytest.raises(UsageError, match="of another form. Pass --restart"):
        write(1)
    write(2, restart=True)
    server.poll()
    assert server.labels == {"stable": 2}


def test_a_deployment_without_its_configuration_is_completed(write, server):
    write(1)
    server.file.unlink()
    write(2)
    server.poll()
    assert server.loaded == {2}
