"""Builders of models: each returns a plain `keras.Model`."""

from kbig.models.bert import BERT_SIZES as BERT_SIZES
from kbig.models.bert import activation_of as activation_of
from kbig.models.bert import bert as bert
from kbig.models.bert_find import copied_bert as copied_bert
from kbig.models.bert_find import find_bert as find_bert
from kbig.models.bert_heads import bert_classifier as bert_classifier
from kbig.models.bert_heads import bert_masked_lm as bert_masked_lm
from kbig.models.bert_heads import (
    bert_token_classifier as bert_token_classifier,
)
from kbig.models.bert_packed import packed as packed
from kbig.models.bert_start import mimetic_start as mimetic_start
from kbig.models.bert_words import with_new_tokens as with_new_tokens
from kbig.models.cnn import cnn as cnn
from kbig.models.forecaster import forecaster as forecaster
from kbig.models.hugging_face import Checkpoint as Checkpoint
from kbig.models.hugging_face import load_hugging_face as load_hugging_face
from kbig.models.mlp import mlp as mlp
from kbig.models.rnn import rnn as rnn
from kbig.models.transformer import transformer as transformer
