import pytest

from kbig.data import catalog
from kbig.data import vocabulary


@pytest.fixture(scope="session")
def texts():
    documents, _ = catalog.load("austen").arrays("test")
    return "\n".join(documents[:6]).split("\n")


@pytest.fixture(scope="session")
def tokens(texts):
    return vocabulary.train_vocabulary(texts, 600)
