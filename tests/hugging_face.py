"""A tiny Hugging Face checkpoint of BERT, and what it computes, in float64."""

import json
import math

import ml_dtypes  # noqa: F401 (gives NumPy its bfloat16)
import numpy as np
from safetensors.numpy import save_file

CONFIG = {
    "model_type": "bert",
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}
SPECIAL = ("[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = (*SPECIAL, *"abcdefghijklmnop", *("##" + x for x in "abcdefgh"))
HEAD = "cls.predictions"


def tensors(config=CONFIG, pooler=True, head=True):
    """Random weights under the names that transformers gives them."""
    generator = np.random.default_rng(3)
    width, inner = config["hidden_size"], config["intermediate_size"]
    found = {}

    def linear(name, rows, columns):
        found[f"{name}.weight"] = generator.normal(0, 0.4, (rows, columns))
        found[f"{name}.bias"] = generator.normal(0, 0.4, rows)

    def norm(name):
        found[f"{name}.weight"] = generator.normal(1, 0.2, width)
        found[f"{name}.bias"] = generator.normal(0, 0.2, width)

    for name, rows in (
        ("word", config["vocab_size"]),
        ("position", config["max_position_embeddings"]),
        ("token_type", config["type_vocab_size"]),
    ):
        key = f"bert.embeddings.{name}_embeddings.weight"
        found[key] = generator.normal(0, 0.4, (rows, width))
    norm("bert.embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", width, width)
        linear(f"{layer}.attention.output.dense", width, width)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", inner, width)
        linear(f"{layer}.output.dense", width, inner)
        norm(f"{layer}.output.LayerNorm")
    if pooler:
        linear("bert.pooler.dense", width, width)
    if head:
        linear(f"{HEAD}.transform.dense", width, width)
        norm(f"{HEAD}.transform.LayerNorm")
        found[f"{HEAD}.bias"] = generator.normal(size=config["vocab_size"])
    return found


def write(directory, weights=None, dtype="float32", **changes):
    """Writes a whole directory, with changes to its config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        key: value
        for key, value in {**CONFIG, **changes}.items()
        if value is not None
    }
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    weights = tensors() if weights is None else weights
    arrays = {name: np.asarray(x).astype(dtype) for name, x in weights.items()}
    save_file(arrays, directory / "model.safetensors")
    return directory


def forward(weights, inputs, activation="gelu", epsilon=1e-12, heads=4):
    """BERT as Devlin et al. write it down: states, pooled, logits."""
    weights = {k: np.asarray(x, "float64") for k, x in weights.items()}

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, x):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def split(x):
        return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)

    def attention(name, x):
        query, key, value = (
            split(linear(f"{name}.self.{part}", x))
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(2, 3) / np.sqrt(query.shape[-1])
        hidden = inputs["padding_mask"][:, None, None, :] == 0
        scores = np.where(hidden, -np.inf, scores)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = scores / scores.sum(-1, keepdims=True) @ value
        mixed = mixed.swapaxes(1, 2).reshape(x.shape)
        return linear(f"{name}.output.dense", mixed)

    gelu = _GELU[activation]
    steps = inputs["token_ids"].shape[1]
    table = "bert.embeddings.{}_embeddings.weight"
    x = (
        weights[table.format("word")][inputs["token_ids"]]
        + weights[table.format("position")][:steps]
        + weights[table.format("token_type")][inputs["segment_ids"]]
    )
    x = norm("bert.embeddings.LayerNorm", x)
    for i in range(CONFIG["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{i}"
        attended = attention(f"{layer}.attention", x)
        x = norm(f"{layer}.attention.output.LayerNorm", x + attended)
        inner = gelu(linear(f"{layer}.intermediate.dense", x))
        x = x + linear(f"{layer}.output.dense", inner)
        x = norm(f"{layer}.output.LayerNorm", x)
    outputs = {"sequence_output": x}
    if "bert.pooler.dense.weight" in weights:
        outputs["pooled_output"] = np.tanh(linear("bert.pooler.dense", x[:, 0]))
    if f"{HEAD}.bias" in weights:
        y = gelu(linear(f"{HEAD}.transform.dense", x))
        y = norm(f"{HEAD}.transform.LayerNorm", y)
        y = y @ weights[table.format("word")].T
        outputs["masked_lm"] = y + weights[f"{HEAD}.bias"]
    return outputs


def _exact_gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def _tanh_gelu(x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x * (1 + np.tanh(inner)) / 2


_GELU = {"gelu": _exact_gelu, "gelu_new": _tanh_gelu}


def random_inputs():
    """Three rows of 9 ids, the last two padded, with two segments."""
    generator = np.random.default_rng(5)
    mask = np.ones((3, 9), "int64")
    mask[1, 6:] = 0
    mask[2, 3:] = 0
    segments = np.zeros((3, 9), "int64")
    segments[0, 4:] = 1
    return {
        "token_ids": generator.integers(5, 30, (3, 9)) * mask,
        "segment_ids": segments,
        "padding_mask": mask,
    }
