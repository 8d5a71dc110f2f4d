"""What fine-tuning starts from: words of the task that become tokens."""

import numpy as np
import pytest

from kbig import data
from kbig import models
from kbig.runs import Run
from recipes import finetune
from recipes import text_start

SIZE = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
VOCABULARY = (
    *data.SPECIAL_TOKENS,
    *LETTERS,
    *(f"##{x}" for x in LETTERS),
    "the",
    "of",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A pretrained BERT that knows few words."""
    run = Run.create(
        tmp_path_factory.mktemp("runs") / "start",
        "pretrain-mlm",
        {"lowercase": True, "strip_accents": True},
    )
    backbone = models.bert(SIZE, len(VOCABULARY))
    run.save_model(models.bert_masked_lm(backbone), vocabulary=VOCABULARY)
    return run.directory


def table(path, text):
    rows = [f"{text} {n},{n % 2}" for n in range(40)]
    path.write_text("\n".join(["text,label", *rows]), "utf-8")
    return path


def started(run, file, **options):
    config = finetune.Config(data=str(file), from_=str(run), **options)
    return text_start.start(config, finetune.load(config))


def test_words_that_break_up_become_tokens(run, tmp_path, capsys):
    file = table(tmp_path / "t.csv", "the goose of the herb and the goose")
    start = started(run, file)
    added = start.vocabulary[len(VOCABULARY) :]
    # Numbers occur once.
    assert added == ("goose", "and", "herb")
    assert "of the words of the task are none of its tokens" in (
        capsys.readouterr().out
    )
    old = models.copied_bert(Run.open(run).load_model())
    new = start.backbone()
    pieces = [VOCABULARY.index(x) for x in ("h", "##e", "##r", "##b")]
    np.testing.assert_allclose(
        new.token_embedding.embeddings[len(VOCABULARY) + 2],
        old.token_embedding.embeddings.numpy()[pieces].mean(0),
        rtol=1e-5,
    )
    assert start.untrained().vocabulary_size == len(start.vocabulary)


def test_as_many_as_are_asked_for(run, tmp_path):
    file = table(tmp_path / "t.csv", "the goose of the herb and the goose")
    assert started(run, file, new_words=1).vocabulary[-1] == "goose"
    assert started(run, file, new_words=0).vocabulary == VOCABULARY


def test_what_does_not_train_tokens_gets_none_by_itself(run, tmp_path):
    file = table(tmp_path / "t.csv", "the goose of the herb and the goose")
    assert started(run, file, method="lora").vocabulary == VOCABULARY
    asked = started(run, file, method="lora", new_words=2)
    assert asked.vocabulary[len(VOCABULARY) :] == ("goose", "and")


def test_a_vocabulary_that_fits_is_left_alone(run, tmp_path):
    file = table(tmp_path / "t.csv", "the a of the a of the a of the goose")
    assert started(run, file).vocabulary == VOCABULARY
