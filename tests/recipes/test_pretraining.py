"""`kbig pretrain-mlm`: each objective, on from another model, in Chinese."""

import csv
import json
import math
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import kbig
from kbig.data import SPECIAL_TOKENS
from kbig.data import mixed_batches
from kbig.data import train_vocabulary
from kbig.errors import DataError
from kbig.errors import GateError
from kbig.errors import UsageError
from recipes import cli
from recipes import common
from recipes import pretrain_data
from recipes import pretrain_mlm
from recipes import pretrain_model
from recipes import pretrain_report
from recipes import pretrain_rows

SUBJECTS = ("the cat", "a dog", "the old cow", "my hen")
VERBS = ("sleeps in", "runs through", "looks at", "remembers")
PLACES = ("the garden", "a quiet house", "the long road", "our field")
CHINESE = {
    "动物": (
        "猫在花园里睡觉",
        "狗跑过长长的路",
        "母鸡在田里吃米",
        "老牛喝河水",
    ),
    "植物": ("橡树长在山上", "常春藤爬满墙", "蕨类喜欢阴凉", "竹子长得很快"),
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


def sentences(count, generator):
    return [
        f"{generator.choice(SUBJECTS)} {generator.choice(VERBS)} "
        f"{generator.choice(PLACES)} {number}"
        for number in range(count)
    ]


@pytest.fixture
def corpus(tmp_path):
    generator = np.random.default_rng(0)
    documents = ["\n".join(sentences(4, generator)) for _ in range(200)]
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(documents), encoding="utf-8")
    return path


def pretrain(corpus, out, *arguments):
    arguments = [
        *("--corpus", corpus, "--vocabulary-size", 150, "--steps", 24),
        *("--batch-size", 8, "--sequence-length", 32, "--out", out),
        *arguments,
    ]
    assert cli.main(["pretrain-mlm", *map(str, arguments)]) == 0
    return json.loads((out / "metrics.json").read_text())


def folder_of(directory, **splits):
    for split, texts in splits.items():
        (directory / split).mkdir(parents=True)
        text = "\n\n".join(texts)
        (directory / split / "a.txt").write_text(text, encoding="utf-8")
    return str(directory)


def read(*names, **options):
    corpus = pretrain_data.read_corpus(
        pretrain_mlm.Config(corpus=names, **options)
    )
    return list(corpus.train), list(corpus.held_out)


def test_streams_keep_to_the_splits_of_a_folder(tmp_path):
    texts = {
        split: [f"{split} {number}" for number in range(400)]
        for split in ("train", "dev", "test")
    }
    given = folder_of(tmp_path / "given", **texts)
    assert read(given, stream=True) == (texts["train"], texts["dev"])
    assert read(given, stream=True, limit=7) == (
        texts["train"][:7],
        texts["dev"],
    )
    del texts["dev"]
    train, held_out = read(folder_of(tmp_path / "tested", **texts), stream=True)
    assert sorted(train + held_out) == sorted(texts["train"])
    assert 1 <= len(held_out) <= 24  # 8 are expected, with a deviation of 3.
    unsplit = folder_of(tmp_path, unsplit=texts["train"])
    assert read(f"{unsplit}/unsplit", stream=True) == (train, held_out)


def test_tables_need_no_labels(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = [{"body": f"a {n}\n\nb", "fold": "train"} for n in range(3)]
    rows += [{"body": "c", "fold": "val"}, {"body": "d", "fold": "test"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    text = tmp_path / "u.txt"
    text.write_text("\n\n".join(f"e {n}" for n in range(20)))
    train, held_out = read(
        str(path), str(text), text_column="body", split_column="fold"
    )
    assert train[:3] == ["a 0\nb", "a 1\nb", "a 2\nb"]
    assert held_out[0] == "c" and "d" not in train + held_out
    assert len(train) > 10


@pytest.mark.parametrize(
    "total, most, steps",
    [
        (10, 4, [3, 3, 2, 2]),
        (12, 4, [3, 3, 3, 3]),
        (3, 4, [1, 1, 1]),
        (23, 7, [4, 4, 3, 3, 3, 3, 3]),
    ],
)
def test_stages_take_every_step(total, most, steps):
    found, first_part = [], 0
    for stage in pretrain_model.stages(total, most):
        assert stage.first_step == sum(found)
        assert stage.first_part == first_part
        found += [stage.steps] * stage.parts
        first_part += stage.parts
    assert found == steps


@pytest.fixture
def eagerly():
    """A few steps take less time than making graphs of them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


SMALL = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}


def material(texts, **options):
    """What `pretrain_model.fit` takes of some documents, and the model."""
    vocabulary = train_vocabulary(texts, 150)
    words = pretrain_data.Words(vocabulary, True, True)
    given = {"sequence_length": 16, "batch_size": 8, "xla": "off"}
    given["learning_rate"] = 1e-3
    config = pretrain_mlm.Config(**given | options)
    backbone = kbig.models.bert(SMALL, len(vocabulary))
    start = pretrain_model.Start(words, backbone)
    tokenizer = kbig.data.tokenizer(*vars(words).values())
    rows = [
        pretrain_rows.make(
            kbig.data.tokenize_documents(part, tokenizer),
            words,
            config,
            len(vocabulary),
        )
        for part in (texts[10:], texts[:10])
    ]
    return config, start, rows


def fit(config, start, rows, directory):
    with common.runtime(config).scope():
        model = pretrain_model.model(start, config, rows[0].frequencies)
    run = types.SimpleNamespace(directory=directory)
    runtime = common.runtime(config)
    fitted = pretrain_model.fit(config, runtime, model, *rows, start, run)
    return model, fitted


@pytest.mark.first_cases(1)
@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("options", [{"steps": 10}, {"epochs": 3}])
def test_every_step_is_taken_once(options, tmp_path, monkeypatch):
    texts = sentences(90, np.random.default_rng(0))
    config, start, rows = material(texts, rate=0.5, masking="span", **options)
    total = options.get("steps") or len(rows[0]) // 8 * 3
    assert total % 4, "Otherwise it tells nothing."
    streams = []

    def recorded(*arguments, **options):
        stream = mixed_batches(*arguments, **options)
        first = next(stream.take(1).as_numpy_iterator())
        streams.append((options, first[0]["token_ids"], first[2].sum(1)))
        return stream

    monkeypatch.setattr(kbig.data, "mixed_batches", recorded)
    model, fitted = fit(config, start, rows, tmp_path)
    assert model.optimizer.iterations.numpy() == fitted.steps == total
    # The schedule ends with the last step, at zero.
    rate = float(np.array(model.optimizer.learning_rate))
    assert rate == pytest.approx(0, abs=1e-6)
    (evaluated, _, hidden), *training = streams
    begins = [options["first_step"] for options, _, _ in training]
    assert begins == [0, total % 4 * (total // 4 + 1)]
    assert np.any(training[0][1] != training[1][1])
    with (tmp_path / "history.csv").open() as file:
        parts = list(csv.DictReader(file))
    assert [int(part["epoch"]) for part in parts] == [0, 1, 2, 3]
    losses = [float(part["val_loss"]) for part in parts]
    assert losses == pytest.approx(fitted.history["val_loss"])
    # Of 16 slots [CLS], one to four [SEP] and padding are never hidden.
    assert not evaluated["training"] and evaluated["masking"] == "token"
    assert hidden.max() == 2 and min(training[0][2]) >= 5
    assert {options["masking"] for options, _, _ in training} == {"span"}


def test_what_starts_from_nothing_looks_nearby():
    texts = sentences(20, np.random.default_rng(0))
    config = pretrain_mlm.Config(vocabulary_size=100)
    corpus = pretrain_data.Corpus(texts, texts[:5], [])
    backbone = pretrain_model.start(config, corpus).backbone
    attention = backbone.transformer_layers[0]._self_attention_layer
    assert np.array_equal(
        attention.query_dense.kernel, attention.key_dense.kernel
    )


@pytest.mark.ci
@pytest.mark.usefixtures("eagerly")
def test_dropout_is_of_the_pretraining_alone(tmp_path, monkeypatch):
    def rates(model):
        layers = model._flatten_layers()
        return {x.rate for x in layers if isinstance(x, keras.layers.Dropout)}

    within = []
    compile = pretrain_model._compile
    monkeypatch.setattr(
        pretrain_model,
        "_compile",
        lambda model, *rest: (
            within.append(rates(model)),
            compile(model, *rest),
        ),
    )
    texts = sentences(90, np.random.default_rng(0))
    for options, expected in (({}, 0.0), ({"dropout": 0.2}, 0.2)):
        config, start, rows = material(texts, steps=1, **options)
        model, _ = fit(config, start, rows, tmp_path)
        assert within.pop() == {expected}
        assert rates(model) == {0.1}


@pytest.mark.ci
@pytest.mark.usefixtures("eagerly")
def test_a_run_that_diverges_fails(tmp_path):
    texts = sentences(90, np.random.default_rng(0))
    config, start, rows = material(texts, steps=2, learning_rate=1e30)
    with pytest.raises(GateError, match="diverged.*Received: (nan|inf)"):
        fit(config, start, rows, tmp_path)


def test_what_is_counted_in_rows(monkeypatch):
    monkeypatch.setattr(pretrain_rows, "_BLOCK", 1)
    words = pretrain_data.Words((*SPECIAL_TOKENS, "a", "b"), True, True)
    config = pretrain_mlm.Config(sequence_length=6)
    train, held_out = (
        pretrain_rows.make(documents, words, config, 8)
        for documents in ([[[5, 5, 1], [6]]], [[[5, 6, 6]]])
    )
    # [CLS] a a [UNK] [SEP] [PAD], [CLS] b [SEP] [PAD] [PAD] [PAD]
    assert len(train) == 2 and train.fill == pytest.approx(8 / 12)
    assert train.unknown_share == 1 / 4
    # a 2, b 1 and a row of the table without a token, each once more.
    frequencies = np.array([1, 1, 1, 1, 1, 3, 2, 1]) / 11
    np.testing.assert_allclose(train.frequencies, frequencies, rtol=1e-6)
    entropy = -(math.log(3 / 11) + 2 * math.log(2 / 11)) / 3
    found = pretrain_rows.unigram_entropy(train, held_out)
    assert found == pytest.approx(entropy, rel=1e-6)
    nothing = pretrain_rows.make([[[1, 1]]], words, config, 8)
    config = pretrain_mlm.Config(sequence_length=6, batch_size=2)
    with pytest.raises(UsageError, match="can be hidden. Received: 2"):
        pretrain_rows.check(train, nothing, config)
    with pytest.raises(UsageError, match="fit the corpus.*Received: 100%"):
        pretrain_rows.check(nothing, train, config)


def test_short_chinese_sentences_are_filled_in():
    texts = [
        f"{text}，第{number}次。"
        for number in range(5)
        for topic in CHINESE.values()
        for text in topic
    ]
    assert max(map(len, texts)) == 12
    config, start, _ = material(texts)
    words = start.words
    model = pretrain_model.model(
        start, config, np.full(len(words.vocabulary), 0.01, np.float32)
    )
    tokenizer = kbig.data.tokenizer(*vars(words).values())
    documents = kbig.data.tokenize_documents(["猫睡觉", *texts], tokenizer)
    section = pretrain_report.fill_ins(model, words, documents, config)
    (table,) = section.blocks
    assert len(table.rows) == 2  # One of twenty sentences.
    for (text, hidden, said), whole in zip(table.rows, (texts[0], texts[20])):
        shown = text.replace("[MASK]", hidden).replace(" ", "")
        assert shown == whole and said.count("%") == 3


@pytest.mark.slow
def test_objectives_maskings_and_going_on(corpus, tmp_path):
    first = pretrain(
        corpus, tmp_path / "first", "--masking", "span", "--stream"
    )
    page = (tmp_path / "first/report.html").read_text()
    assert "Fill-ins" in page and "[MASK]" in page
    rows = tmp_path / "first" / "shards" / "train" / "rows.int32"
    assert rows.stat().st_size % (32 * 4) == 0 < rows.stat().st_size
    second = pretrain(
        corpus,
        tmp_path / "second",
        *("--from", tmp_path / "first", "--objective", "mlm+sop"),
        *("--masking", "whole-word", "--rate", 0.3, "--steps", 96),
    )
    assert second["test_loss"] < first["test_loss"]
    assert second["test_loss"] < second["unigram_entropy"]
    assert second["perplexity"] == pytest.approx(math.exp(second["test_loss"]))
    third = pretrain(
        corpus, tmp_path / "third", "--from", tmp_path / "second", "--pack"
    )
    # It goes on from where the second ended, its head included.
    assert third["test_loss"] < first["test_loss"]
    assert third["fill"] > 0.9
    vocabularies = {
        (tmp_path / name / "vocabulary.txt").read_text()
        for name in ("first", "second", "third")
    }
    assert len(vocabularies) == 1


@pytest.mark.slow
def test_replicas_share_rows_of_a_file(corpus, tmp_path):
    out = tmp_path / "run"
    metrics = pretrain(
        corpus,
        out,
        *("--stream", "--strategy", "mirrored", "--xla", "off", "--steps", 4),
    )
    assert metrics["test_loss"] < np.log(150) + 1
    held_out = out / "shards" / "held-out" / "rows.int32"
    rows = held_out.stat().st_size // (32 * 4)
    assert rows < 8 and rows % 2, "Otherwise it tells nothing."


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective, steps", [("mlm+nsp", 300), ("mlm+sop", 150)]
)
def test_pairs_are_told_by_their_topics(objective, steps, tmp_path):
    generator = np.random.default_rng(0)
    words = ["cat", "dog", "hen", "cow"], ["oak", "fern", "ivy", "reed"]
    # Each document begins with one topic and ends with the other.
    documents = [
        "\n".join(
            " ".join(generator.choice(words[sentence // 2], 6))
            for sentence in range(4)
        )
        for _ in range(300)
    ]
    corpus = tmp_path / "topics.txt"
    corpus.write_text("\n\n".join(documents))
    metrics = pretrain(
        corpus,
        tmp_path / "run",
        *("--objective", objective, "--steps", steps),
    )
    assert metrics["next_sentence_accuracy"] > 0.75
    assert metrics["test_loss"] < metrics["unigram_entropy"]


@pytest.mark.slow
def test_shards_are_written_once_and_checked(corpus, tmp_path, capsys):
    shards = tmp_path / "shards"
    pretrain(corpus, tmp_path / "first", "--shards", shards, "--steps", 4)
    written = (shards / "train" / "shard-00000.tfrecord").stat().st_mtime_ns
    pretrain(corpus, tmp_path / "second", "--shards", shards, "--steps", 4)
    kept = (shards / "train" / "shard-00000.tfrecord").stat().st_mtime_ns
    assert kept == written
    corpus.write_text(corpus.read_text() + "\n\nAnother one.\nAnd more.")
    arguments = [
        "--corpus",
        corpus,
        "--shards",
        shards,
        "--out",
        tmp_path / "x",
    ]
    vocabulary = tmp_path / "first" / "vocabulary.txt"
    arguments += ["--vocabulary", vocabulary, "--sequence-length", 32]
    assert cli.main(["pretrain-mlm", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert f"{shards / 'train' / 'shard-00000.tfrecord'} was made of" in error
    assert "another folder, or delete this one" in error
    assert "resume" not in error


@pytest.mark.slow
def test_chinese_from_a_corpus_to_a_server(tmp_path):
    generator = np.random.default_rng(0)
    rows = [
        (f"{generator.choice(CHINESE[topic])}，第{number}次。", topic)
        for number in range(300)
        for topic in CHINESE
    ]
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(text for text, _ in rows), encoding="utf-8")
    pretrain(corpus, tmp_path / "pretrain")
    vocabulary = (tmp_path / "pretrain/vocabulary.txt").read_text().split()
    assert {"猫", "橡", "竹", "牛"} <= set(vocabulary)
    data = tmp_path / "topics.csv"
    with data.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    out = tmp_path / "topics"
    arguments = [
        *("finetune", "--data", data, "--from", tmp_path / "pretrain"),
        *("--epochs", 4, "--formats", "savedmodel,litert-dynamic"),
        *("--out", out),
    ]
    assert cli.main(list(map(str, arguments))) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.95
    assert metrics["saved_model"]["metric"] == metrics["test_accuracy"]
    assert "动物" in (out / "report.html").read_text(encoding="utf-8")


def test_mistakes_are_found_before_training(corpus, tmp_path, capsys):
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    few = tmp_path / "few.txt"
    few.write_text("A single document.\n")
    lacking = tmp_path / "vocabulary.txt"
    lacking.write_text("[PAD]\n[UNK]\na\nb\n")
    chinese = kbig.data.save_vocabulary(
        (*SPECIAL_TOKENS, *"猫狗，。"), tmp_path / "chinese.txt"
    )
    table = tmp_path / "table.csv"
    table.write_text("text,label\na,b\n")
    paragraphs = tmp_path / "paragraphs.txt"
    paragraphs.write_text("\n".join(f"Paragraph {n}." for n in range(50)))
    lopsided = folder_of(
        tmp_path / "lopsided", train=["a b", "b c"], dev=["a c"], test=["b"]
    )
    nsp = ("--objective", "mlm+nsp")
    run = tmp_path / "run"
    for arguments, fragment in (
        (("--corpus", empty), "empty"),
        (("--batch-size", 100_000), "less than one batch"),
        (("--vocabulary", lacking), "[CLS]"),
        (("--sequence-length", 600), "512"),
        (("--vocabulary", chinese), "at most 50% of the tokens may be [UNK]"),
        (("--rate", 1.5), "at most 1. Received: 1.5"),
        (("--rate", 0), "above 0"),
        (("--dropout", 1), "below 1. Received: 1.0"),
        (("--pack", "--objective", "mlm+nsp"), "--pack"),
        (("--corpus", "austen", "--stream"), "no file"),
        (("--corpus", few, "--stream"), "one in fifty"),
        (("--corpus", table, "--stream"), "`.txt.gz`"),
        (("--corpus", paragraphs, *nsp), "needs ten documents or more"),
        (("--corpus", lopsided, *nsp), "Received: 1 held-out document"),
        (("--corpus", lopsided, "--limit", 1, *nsp), "1 training document"),
        (("--corpus", lopsided, "--stream", *nsp), "1 held-out document"),
    ):
        command = [
            *("pretrain-mlm", "--corpus", corpus, "--vocabulary-size", 150),
            *("--out", run, "--overwrite", *arguments),
        ]
        assert cli.main(list(map(str, command))) == 2, arguments
        assert fragment in capsys.readouterr().err
        assert not run.exists()


def test_shards_that_are_kept_are_read_only_if_they_are_whole(tmp_path):
    texts = sentences(20, np.random.default_rng(0))
    words = pretrain_data.Words(train_vocabulary(texts, 100), True, True)
    corpus = pretrain_data.Corpus(texts, texts[:5], [])
    train, held_out = pretrain_data.tokenized(corpus, words, tmp_path)
    assert (train.count, held_out.count) == (20, 5)
    content = bytearray(train.files[0].read_bytes())
    content[-10] ^= 1
    train.files[0].write_bytes(content)
    with pytest.raises(DataError, match="shard-00000.*index tells"):
        pretrain_data.tokenized(corpus, words, tmp_path)


def test_all_tokens_may_be_hidden(corpus, capsys):
    arguments = ("--corpus", corpus, "--vocabulary-size", 150, "--rate", 1)
    command = ["pretrain-mlm", *map(str, arguments), "--dry-run"]
    assert cli.main(command) == 0
    assert '"rate": 1.0' in capsys.readouterr().out


def test_packed_rows_are_as_long_as_their_texts_need():
    vocabulary = (*SPECIAL_TOKENS, *"abcdefgh")
    words = pretrain_data.Words(vocabulary, True, True)
    sizes = [510] * 2 + [254] * 4 + [62] * 40
    documents = [[np.full(size, 5 + size % 8) for size in sizes]]
    config = pretrain_mlm.Config(pack=True, sequence_length=512)
    rows = pretrain_rows.make(documents, words, config, len(vocabulary))
    shapes = [group["token_ids"].shape for group in rows.groups]
    assert shapes == [(20, 128), (4, 256), (2, 512)]
    assert len(rows) == 2 + 4 / 2 + 20 / 4
    assert rows.fill == 1.0
    assert rows.counts.sum() == 512 * len(rows)
    texts = np.array([512] * 2 + [256] * 4 + [64] * 40)
    wanted = (texts**2).sum() / texts.sum()
    assert pretrain_model._attended(rows.groups) == round(wanted)


@pytest.mark.parametrize(
    "width, options, rate",
    [
        (128, {}, 2e-3),
        (64, {}, 2e-3),
        (768, {}, 2e-3 / 36),
        (384, {"from_": "bert"}, 2e-3 / 27),
        (768, {"learning_rate": 1e-4}, 1e-4),
        (768, {"learning_rate": 1e-4, "from_": "bert"}, 1e-4),
    ],
)
def test_wider_models_learn_more_slowly(width, options, rate):
    config = pretrain_mlm.Config(**options)
    backbone = types.SimpleNamespace(hidden_dim=width)
    assert pretrain_model.peak_rate(config, backbone) == pytest.approx(rate)
