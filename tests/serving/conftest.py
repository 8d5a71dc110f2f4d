"""One export of a classifier of texts for all odd requests."""

import pytest

from tests.serving.exports import served_topics


@pytest.fixture(scope="session")
def topics(tmp_path_factory):
    with served_topics(tmp_path_factory.mktemp("topics")) as served:
        yield served
