"""Distillation: a small student learns what a large teacher computes."""

import math

import keras

from kbig.errors import UsageError
from kbig.tuning.distillation_losses import hidden_state_loss
from kbig.tuning.distillation_losses import matched_layers
from kbig.tuning.distillation_losses import relation_loss
from kbig.tuning.transfer import check_classifier

_RELATIONS = ("query", "key", "value")
_NARROWEST_HEAD = 16


class Distiller(keras.Model):
    """A student with a teacher beside it, whose insides it learns too.

    It maps inputs to the student's logits and adds two terms to the loss that
    it is compiled with. Hidden states: the output of the embeddings and of
    each layer of the student, through a learned projection, is to equal that
    of a layer of the teacher; layers are matched evenly. Attention: queries,
    keys and values of both last layers are to relate tokens alike, which
    needs no equal widths or numbers of heads (`relation_loss`).

    After `fit`, save `student`: a plain model that knows nothing of the
    teacher. Soft labels need no Distiller: see `teacher_logits`.

    Args:
        student: a classifier from `bert_classifier`.
        teacher: likewise, of the same vocabulary. It is frozen.
        hidden: weight of the hidden states, 0 for none.
        attention: weight of the attention, 0 for none.
        **kwargs: as of `keras.Model`.

    Attributes:
        student: as received; it shares every weight.
        teacher: as received.
        projections: a `Dense` for the embeddings and each layer, from the
            student's width to the teacher's; none without hidden states.

    Raises:
        UsageError: models that are not flat BERT classifiers, vocabularies of
            different sizes, a student deeper than the teacher when hidden
            states are taught, or weights that are negative or all zero.

    Example:
    ```python
    distiller = Distiller(student, teacher, hidden=1.0, attention=1.0)
    distiller.compile("adam", DistillationLoss(), metrics=[LabelAccuracy()])
    distiller.fit(inputs, distillation_targets(labels, logits))
    distiller.student.save("student.keras")
    ```

    Reference:
     - [Jiao et al., 2020](https://arxiv.org/abs/1909.10351), TinyBERT
     - [Wang et al., 2021](https://arxiv.org/abs/2012.15828), MiniLMv2
    """

    def __init__(self, student, teacher, hidden=1.0, attention=1.0, **kwargs):
        _check_weights(hidden, attention)
        for model in (student, teacher):
            check_classifier(model)
        encoders = [_encoders(model) for model in (student, teacher)]
        _check_same_tokens(student, teacher)
        depths = [len(layers) for layers in encoders]
        matched = (0, *matched_layers(*depths)) if hidden else ()

        super().__init__(**kwargs)
        self.student = student
        self.teacher = teacher
        self.hidden = hidden
        self.attention = attention
        teacher.trainable = False
        self._matched = matched
        self._student_states = _with_states(student, encoders[0])
        self._teacher_states = _with_states(teacher, encoders[1])
        self._last = [layers[-1] for layers in encoders]
        widths = [_width(model) for model in (student, teacher)]
        self._relation_heads = _relation_heads(*widths)
        self.projections = [
            _projection(number, *widths) for number in range(len(matched))
        ]
        self._terms = {
            name: keras.metrics.Mean(f"{name}_loss")
            for name, weight in (("hidden", hidden), ("attention", attention))
            if weight
        }

    def call(self, inputs, training=None):
        """Computes the student's logits, and adds the losses."""
        logits, states = self._student_states(inputs, training=training)
        _, taught = self._teacher_states(inputs, training=False)
        mask = inputs["padding_mask"]
        if self.hidden:
            self._add("hidden", self._hidden_loss(states, taught, mask))
        if self.attention:
            self._add("attention", self._attention_loss(states, taught, mask))
        return logits

    def _hidden_loss(self, states, taught, mask):
        losses = [
            hidden_state_loss(projection(state), taught[layer], mask)
            for state, projection, layer in zip(
                states, self.projections, self._matched
            )
        ]
        return sum(losses) / len(losses)

    def _attention_loss(self, states, taught, mask):
        losses = [
            relation_loss(
                _vectors(self._last[0], relation, states[-2]),
                _vectors(self._last[1], relation, taught[-2]),
                mask,
                self._relation_heads,
            )
            for relation in _RELATIONS
        ]
        return sum(losses) / len(losses)

    def _add(self, name, losses):
        self._terms[name].update_state(losses)
        # The last batch may leave a replica without a row.
        rows = keras.ops.maximum(keras.ops.shape(losses)[0], 1)
        mean = keras.ops.sum(losses) / keras.ops.cast(rows, "float32")
        self.add_loss(getattr(self, name) * mean)


def _check_weights(hidden, attention) -> None:
    weights = (hidden, attention)
    known = all(map(math.isfinite, weights))
    if not known or min(weights) < 0 or not any(weights):
        raise UsageError(
            "`hidden` and `attention` must be weights, not negative and not "
            f"both 0. Received: hidden={hidden}, attention={attention}. "
            "Without them soft labels alone do: fit the student itself."
        )


def _encoders(model):
    import keras_hub

    encoders = [
        layer
        for layer in model.layers
        if isinstance(layer, keras_hub.layers.TransformerEncoder)
    ]
    if not encoders:
        raise UsageError(
            "The insides of a model can only be taught where its layers lie "
            f"side by side. Received: {model.name!r} with layers "
            f"{[layer.name for layer in model.layers]}. Build it with "
            "`bert_classifier`."
        )
    return encoders


def _check_same_tokens(student, teacher) -> None:
    sizes = [
        model.get_layer("token_embedding").input_dim
        for model in (student, teacher)
    ]
    if sizes[0] != sizes[1]:
        raise UsageError(
            "Hidden states and attention can only be taught token by token: "
            "student and teacher must share one vocabulary. Received: "
            f"{sizes[0]:,} and {sizes[1]:,} tokens. Teach by logits alone, or "
            "build the student on the teacher's vocabulary."
        )


def _with_states(model, encoders):
    """The model with all its hidden states: embeddings, then layers."""
    embeddings = model.get_layer("embeddings_dropout")
    states = [layer.output for layer in (embeddings, *encoders)]
    return keras.Model(model.input, (model.output, states))


def _width(model) -> int:
    return model.get_layer("embeddings_dropout").output.shape[-1]


def _relation_heads(student_width: int, teacher_width: int) -> int:
    """As many as divide both widths and leave a head room to tell apart."""
    common = math.gcd(student_width, teacher_width)
    fitting = [
        heads
        for heads in range(1, common + 1)
        if common % heads == 0 and student_width >= heads * _NARROWEST_HEAD
    ]
    return max(fitting, default=1)


def _projection(number, student_width, teacher_width):
    projection = keras.layers.Dense(
        teacher_width, dtype="float32", name=f"projection_{number}"
    )
    projection.build((None, None, student_width))
    return projection


def _vectors(encoder, relation, states):
    """Queries, keys or values of all heads side by side."""
    attention = encoder._self_attention_layer
    vectors = getattr(attention, f"{relation}_dense")(states)
    width = vectors.shape[-1] * vectors.shape[-2]
    return keras.ops.reshape(vectors, (-1, keras.ops.shape(states)[1], width))
