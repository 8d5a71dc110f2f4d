"""Exports of small models, called in this process and over both protocols."""

import contextlib

import hypothesis
import numpy as np
import tensorflow as tf

from kbig import data
from kbig.errors import UsageError
from kbig.export.formats import FORMATS
from kbig.export.formats import Job
from kbig.export.samples import synthetic_samples
from kbig.export.samples import text_samples
from kbig.serving import Client
from tests.serving.tf_serving import Model
from tests.serving.tf_serving import grpc_server
from tests.serving.tf_serving import rest_server
from tests.text_models import CLASSES
from tests.text_models import TEXTS
from tests.text_models import text_classifier

LENGTH = 12


def drawn(examples):
    """The same examples in every run."""
    return hypothesis.settings(
        max_examples=examples, derandomize=True, deadline=None, database=None
    )


class Served:
    """An export, called in this process and over both protocols."""

    def __init__(self, job, folder, stack):
        path = FORMATS["savedmodel"].write(job, folder)
        served = Model(job.name, str(path))
        self.job = job
        self.model = served
        self.direct = served._loaded.signatures
        urls = rest_server(served), grpc_server(served)
        self.urls = [stack.enter_context(url) for url in urls]
        self.clients = [
            stack.enter_context(Client(url, job.name, retries=0))
            for url in self.urls
        ]
        self._function = tf.function(job.model, reduce_retracing=True)

    def logits(self, inputs):
        return self._function(inputs, training=False).numpy()

    def encoded(self, texts):
        return data.encode(tf.constant(texts), self.job.tokenizer, LENGTH)

    def answers(self, inputs, signature):
        """Of the clients, each the outputs or what was refused."""
        return [
            outcome(lambda c=client: c.predict(inputs, signature))
            for client in self.clients
        ]


def outcome(call):
    try:
        return call()
    except UsageError as error:
        assert str(error) and "\n" not in str(error)
        return error


def are_refused(answers):
    return [isinstance(answer, UsageError) for answer in answers] == [True] * 2


def have(answers, name, expected):
    """Whether both clients were given the array."""
    return all(
        np.allclose(answer[name], expected, atol=1e-4, equal_nan=True)
        for answer in answers
    )


@contextlib.contextmanager
def served_topics(folder):
    """A classifier of texts."""
    model, _, tokenizer = text_classifier(hidden_dim=16)
    sharpen(model)
    samples = text_samples(model, TEXTS, tokenizer, LENGTH)
    job = Job(model, "topics", samples, tokenizer, LENGTH, CLASSES, None)
    with contextlib.ExitStack() as stack:
        yield Served(job, folder, stack)


@contextlib.contextmanager
def served_model(model, folder):
    """A classifier of numbers."""
    sharpen(model)
    samples = synthetic_samples(model)
    job = Job(model, "numbers", samples, None, None, CLASSES, None)
    with contextlib.ExitStack() as stack:
        yield Served(job, folder, stack)


def sharpen(model):
    """Makes every token count: fresh weights give all texts one answer."""
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(0, 0.7, weight.shape))
