"""Data: load it by name or path, batch it, tokenize, mask and pack it."""

from kbig.data.augmentation import AUGMENTATIONS
from kbig.data.augmentation import augmented
from kbig.data.bucketing import bucketed_batches
from kbig.data.bucketing import tagged_batches
from kbig.data.catalog import EMBEDDED
from kbig.data.catalog import load
from kbig.data.dataset import Dataset
from kbig.data.dataset import DatasetInfo
from kbig.data.encoding import encode
from kbig.data.encoding import suitable_length
from kbig.data.encoding import tokenize
from kbig.data.encoding import tokenizer
from kbig.data.fast_tokens import tokenize_documents
from kbig.data.labels import balanced_class_weights
from kbig.data.masking import mask_tokens
from kbig.data.mixed_lengths import mixed_batches
from kbig.data.mixed_lengths import mixed_steps
from kbig.data.new_words import BrokenWords
from kbig.data.new_words import broken_words
from kbig.data.packing import pack_by_length
from kbig.data.packing import pack_documents
from kbig.data.packing import pack_texts
from kbig.data.pairs import sentence_pairs
from kbig.data.pipeline import batches
from kbig.data.pretraining import masked_batches
from kbig.data.rows import EncodedRows
from kbig.data.rows import encode_rows
from kbig.data.rows import encode_words
from kbig.data.rows import words_from_pieces
from kbig.data.shard_files import Shards
from kbig.data.shards import ShardReport
from kbig.data.shards import read_shards
from kbig.data.shards import write_shards
from kbig.data.streaming import stream_documents
from kbig.data.vocabulary import SPECIAL_TOKENS
from kbig.data.vocabulary import continuing_pieces
from kbig.data.vocabulary import load_vocabulary
from kbig.data.vocabulary import save_vocabulary
from kbig.data.vocabulary import train_vocabulary

__all__ = [
    "AUGMENTATIONS",
    "EMBEDDED",
    "SPECIAL_TOKENS",
    "BrokenWords",
    "Dataset",
    "DatasetInfo",
    "EncodedRows",
    "ShardReport",
    "Shards",
    "augmented",
    "balanced_class_weights",
    "batches",
    "broken_words",
    "bucketed_batches",
    "continuing_pieces",
    "encode",
    "encode_rows",
    "encode_words",
    "load",
    "load_vocabulary",
    "mask_tokens",
    "masked_batches",
    "mixed_batches",
    "mixed_steps",
    "pack_by_length",
    "pack_documents",
    "pack_texts",
    "read_shards",
    "save_vocabulary",
    "sentence_pairs",
    "stream_documents",
    "suitable_length",
    "tagged_batches",
    "tokenize",
    "tokenize_documents",
    "tokenizer",
    "train_vocabulary",
    "words_from_pieces",
    "write_shards",
]
