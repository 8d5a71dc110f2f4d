"""Data: load it by name or path, batch it, tokenize, mask and pack it."""

from kbig.data.augmentation import AUGMENTATIONS
from kbig.data.augmentation import augmented
from kbig.data.bucketing import bucketed_batches
from kbig.data.catalog import EMBEDDED
from kbig.data.catalog import load
from kbig.data.dataset import Dataset
from kbig.data.dataset import DatasetInfo
from kbig.data.encoding import encode
from kbig.data.encoding import suitable_length
from kbig.data.encoding import tokenize
from kbig.data.encoding import tokenizer
from kbig.data.masking import mask_tokens
from kbig.data.masking import masked_batches
from kbig.data.packing import pack_documents
from kbig.data.pipeline import batches
from kbig.data.vocabulary import SPECIAL_TOKENS
from kbig.data.vocabulary import load_vocabulary
from kbig.data.vocabulary import save_vocabulary
from kbig.data.vocabulary import train_vocabulary

__all__ = [
    "AUGMENTATIONS",
    "EMBEDDED",
    "SPECIAL_TOKENS",
    "Dataset",
    "DatasetInfo",
    "augmented",
    "batches",
    "bucketed_batches",
    "encode",
    "load",
    "load_vocabulary",
    "mask_tokens",
    "masked_batches",
    "pack_documents",
    "save_vocabulary",
    "suitable_length",
    "tokenize",
    "tokenizer",
    "train_vocabulary",
]
