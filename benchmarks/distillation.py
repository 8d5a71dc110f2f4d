"""Is a distilled student better than the same student alone?

python benchmarks/distillation.py --teacher runs/minilm --seeds 3 --epochs 3

Every student of a seed starts from the same weights: alone, for --epochs
passes over the labelled texts; alone, for as many steps as the next; and
distilled, for --epochs passes over the same texts with copies that the teacher
labels. Each result is printed and written as soon as it is there. What the
teacher said is kept beside --out, so that a second run need not ask again.
"""

import argparse
import hashlib
import json
import pathlib
import time

import numpy as np
import pruning

import kbig

SIDES = ("alone", "alone, as many steps", "distilled")


def main():
    options = parsed_options()
    teacher = kbig.runs.Run.open(options.teacher)
    dataset = kbig.data.load(options.data)
    if dataset.info.class_names != teacher.class_names:
        raise SystemExit(f"{options.teacher} was not trained on these classes")
    test_texts, test_labels = dataset.arrays("test")
    said = said_by(teacher, test_texts, options)
    results = {
        "options": {k: str(v) for k, v in vars(options).items()},
        "teacher": float((said.argmax(-1) == test_labels).mean()),
        "accuracies": {side: [] for side in SIDES},
    }
    lessons = lessons_of(teacher, dataset, options)
    lessons = {side: lessons[side] for side in options.sides}
    for seed in range(options.seeds):
        for side, lesson in lessons.items():
            logits, seconds = taught(teacher, lesson, seed, test_texts, options)
            accuracy = float((logits.argmax(-1) == test_labels).mean())
            results["accuracies"][side].append(accuracy)
            print(
                f"seed {seed}, {side}: {accuracy:.4f}, {seconds:.0f} s",
                flush=True,
            )
            results["summary"] = summary(results["accuracies"])
            options.out.write_text(json.dumps(results, indent=2))
    rows = [(side, *numbers) for side, numbers in results["summary"].items()]
    columns = ("side", "mean", "standard deviation", "seeds")
    note = f"Test accuracy. The teacher has {results['teacher']:.4f}."
    table = kbig.reporting.Table("Distillation", columns, rows, note)
    kbig.reporting.show(table)


def parsed_options():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--teacher", required=True, help="run of finetune")
    parser.add_argument("--data", default="wordnet-topics")
    parser.add_argument("--start", default="", help="what students start from")
    parser.add_argument("--size", default="tiny")
    parser.add_argument(
        "--embeddings",
        default="random",
        choices=("random", "teacher"),
        help="what the embeddings of every student start as, taught or not",
    )
    parser.add_argument("--sides", nargs="+", default=SIDES, choices=SIDES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--augment", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--alpha", type=float, default=0.9)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    pruning.add_xla(parser)
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("distillation.json")
    )
    return parser.parse_args()


def lessons_of(teacher, dataset, options):
    """By side: texts, targets, weight of the teacher, and passes."""
    texts, labels = dataset.arrays("train")
    everything, targets = kbig.tuning.transfer_set(
        lambda x: said_by(teacher, x, options),
        texts,
        labels,
        copies=options.augment,
    )
    alone = (texts, targets[: len(texts)], 0.0)
    return {
        "alone": (*alone, options.epochs),
        "alone, as many steps": (
            *alone,
            options.epochs * len(everything) // len(texts),
        ),
        "distilled": (everything, targets, options.alpha, options.epochs),
    }


def said_by(teacher, texts, options):
    """The teacher's logits, asked for once."""
    content = hashlib.sha256((teacher.directory / "model.keras").read_bytes())
    content.update("\n".join(texts).encode())
    kept = f"{options.out.stem}-{content.hexdigest()[:16]}.npy"
    path = options.out.with_name(kept)
    if not path.is_file():
        logits = kbig.tuning.teacher_logits(
            teacher.load_model(),
            texts,
            teacher.tokenizer(),
            teacher.config["sequence_length"],
        )
        np.save(path, logits)
    return np.load(path)


def started(teacher, classes, options):
    """A student and its tokenizer, before the first step."""
    if options.start:
        start = kbig.pretrained.load(options.start)
        backbone, tokenizer = start.backbone, start.tokenizer()
    else:
        tokenizer = teacher.tokenizer()
        model = teacher.load_model()
        table = model.get_layer("token_embedding").embeddings
        backbone = kbig.models.bert(options.size, table.shape[0])
        if options.embeddings == "teacher":
            start = kbig.tuning.narrowed(table, backbone.hidden_dim)
            backbone.token_embedding.embeddings.assign(start)
    student = kbig.models.bert_classifier(backbone, classes, 0.1, "mean")
    return student, tokenizer


def taught(teacher, lesson, seed, test_texts, options):
    """Trains one student; returns its logits and the seconds that it took."""
    begin = time.perf_counter()
    texts, targets, alpha, epochs = lesson
    runtime = kbig.training.Runtime(xla=options.xla, seed=seed)
    with runtime.scope():
        classes = len(teacher.class_names)
        student, tokenizer = started(teacher, classes, options)
    length = kbig.data.suitable_length(test_texts, tokenizer)
    batches = kbig.data.bucketed_batches(
        texts,
        targets,
        options.batch_size,
        tokenizer,
        length,
        shuffle=True,
        seed=seed,
        drop_remainder=True,
    )
    total = int(batches.cardinality()) * epochs
    rate = kbig.training.WarmupLinear(options.learning_rate, total // 10, total)
    with runtime.scope(), runtime.fusing(student):
        student.compile(
            kbig.training.adamw(rate, global_clipnorm=1.0),
            kbig.tuning.DistillationLoss(options.temperature, alpha),
            metrics=[kbig.tuning.LabelAccuracy()],
            jit_compile=runtime.jit_compile,
        )
        student.fit(batches, epochs=epochs, verbose=2, shuffle=False)
    logits = kbig.tuning.teacher_logits(student, test_texts, tokenizer, length)
    return logits, time.perf_counter() - begin


def summary(accuracies):
    """Mean, standard deviation and number of seeds by side."""
    return {
        side: (np.mean(found), np.std(found, ddof=len(found) > 1), len(found))
        for side, found in accuracies.items()
        if found
    }


if __name__ == "__main__":
    main()
