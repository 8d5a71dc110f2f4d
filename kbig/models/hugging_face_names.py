"""Where each weight of BERT stands in a Hugging Face checkpoint.

One table, to read such files and to write them. Shapes are those in the
file, in terms of what builds the backbone.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

_WIDTH, _INNER, _WORDS = "hidden_dim", "intermediate_dim", "vocabulary_size"
_POSITIONS, _SEGMENTS = "max_sequence_length", "num_segments"
_ATTENTION = "self_attention_layer"
_INNER_DENSE = "feedforward_intermediate_dense"
_OUTER_DENSE = "feedforward_output_dense"

# Of a layer: the module there, the layer here, what goes in and comes out.
_DENSE = (
    ("attention.self.query", f"{_ATTENTION}/query", _WIDTH, _WIDTH),
    ("attention.self.key", f"{_ATTENTION}/key", _WIDTH, _WIDTH),
    ("attention.self.value", f"{_ATTENTION}/value", _WIDTH, _WIDTH),
    (
        "attention.output.dense",
        f"{_ATTENTION}/attention_output",
        _WIDTH,
        _WIDTH,
    ),
    ("intermediate.dense", _INNER_DENSE, _WIDTH, _INNER),
    ("output.dense", _OUTER_DENSE, _INNER, _WIDTH),
)
_NORMS = (
    ("attention.output.LayerNorm", f"{_ATTENTION}_norm"),
    ("output.LayerNorm", "feedforward_layer_norm"),
)
_EMBEDDINGS = (
    ("word_embeddings", "token_embedding", _WORDS),
    ("position_embeddings", "position_embedding", _POSITIONS),
    ("token_type_embeddings", "segment_embedding", _SEGMENTS),
)
_TRANSFORM = "cls.predictions.transform"
DECODER = "cls.predictions.decoder.weight"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One weight, there and here.

    Args:
        name: in a checkpoint of the bare encoder, without "bert.".
        variable: path of the variable in a model of `kbig.models`.
        shape: in the checkpoint.
    """

    name: str
    variable: str
    shape: tuple[int, ...]

    def read(self, value: np.ndarray, shape: tuple) -> np.ndarray:
        """Turns what the checkpoint holds into what the variable holds.

        Args:
            value: float, of the tensor's own `shape`.
            shape: of the variable; attention splits its heads.

        Returns:
            float32 of that shape.
        """
        return self._turned(value).astype("float32").reshape(shape)

    def write(self, value: np.ndarray) -> np.ndarray:
        """Turns what the variable holds into what the checkpoint holds.

        Args:
            value: float, of the variable's shape.

        Returns:
            float32 of the tensor's own `shape`.
        """
        turned = self.shape[::-1] if self._is_kernel else self.shape
        value = self._turned(np.asarray(value, "float32").reshape(turned))
        return np.ascontiguousarray(value)

    @property
    def _is_kernel(self) -> bool:
        # PyTorch keeps the outputs of a linear layer first.
        return self.variable.endswith("/kernel")

    def _turned(self, value):
        return value.T if self._is_kernel else value


def encoder_tensors(sizes: Mapping) -> tuple[Tensor, ...]:
    """Lists the weights of the embeddings and the transformer layers.

    Args:
        sizes: `vocabulary_size`, `num_layers`, `hidden_dim`,
            `intermediate_dim`, `max_sequence_length`, `num_segments`.

    Returns:
        One tensor a variable.

    Example:
    ```python
    names = [tensor.name for tensor in encoder_tensors(sizes)]
    ```
    """
    width = sizes[_WIDTH]
    found = [
        Tensor(
            f"embeddings.{there}.weight",
            f"{here}/embeddings",
            (sizes[rows], width),
        )
        for there, here, rows in _EMBEDDINGS
    ]
    found += _norm("embeddings.LayerNorm", "embeddings_layer_norm", width)
    for i in range(sizes["num_layers"]):
        theirs, ours = f"encoder.layer.{i}", f"transformer_layer_{i}"
        for there, here, source, target in _DENSE:
            shape = (sizes[target], sizes[source])
            found += _dense(f"{theirs}.{there}", f"{ours}/{here}", shape)
        for there, here in _NORMS:
            found += _norm(f"{theirs}.{there}", f"{ours}/{here}", width)
    return tuple(found)


def pooler_tensors(sizes: Mapping) -> tuple[Tensor, ...]:
    """Lists the weights of the pooler, which not every checkpoint has.

    Args:
        sizes: as of `encoder_tensors`.

    Returns:
        One tensor a variable.
    """
    width = sizes[_WIDTH]
    return tuple(_dense("pooler.dense", "pooled_dense", (width, width)))


def masked_lm_tensors(sizes: Mapping) -> tuple[Tensor, ...]:
    """Lists the weights of the masked language model's head.

    The output weights are those of the token embedding.

    Args:
        sizes: as of `encoder_tensors`.

    Returns:
        One tensor a variable.
    """
    width = sizes[_WIDTH]
    return (
        *_dense(
            f"{_TRANSFORM}.dense", "masked_lm/intermediate_dense", (width,) * 2
        ),
        *_norm(
            f"{_TRANSFORM}.LayerNorm",
            "masked_lm/intermediate_layer_norm",
            width,
        ),
        Tensor(
            "cls.predictions.bias", "masked_lm/output_bias", (sizes[_WORDS],)
        ),
    )


def classifier_tensors(width: int, num_classes: int) -> tuple[Tensor, ...]:
    """Lists the weights of a classifier's head, of texts or of tokens.

    Args:
        width: of the encoder.
        num_classes: number of logits.

    Returns:
        One tensor a variable.
    """
    return tuple(_dense("classifier", "logits", (num_classes, width)))


def _dense(there, here, shape):
    return [
        Tensor(f"{there}.weight", f"{here}/kernel", shape),
        Tensor(f"{there}.bias", f"{here}/bias", shape[:1]),
    ]


def _norm(there, here, width):
    return [
        Tensor(f"{there}.weight", f"{here}/gamma", (width,)),
        Tensor(f"{there}.bias", f"{here}/beta", (width,)),
    ]
