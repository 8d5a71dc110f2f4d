"""Other libraries, set up to do what the code under test must do."""

import tokenizers


def hugging_face(tokens, lowercase=True, strip_accents=None):
    """BERT's tokenizer as Hugging Face's `tokenizers` has it."""
    numbers = {token: index for index, token in enumerate(tokens)}
    oracle = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(
            numbers, unk_token="[UNK]", max_input_chars_per_word=100
        )
    )
    oracle.normalizer = tokenizers.normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents
    )
    oracle.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return oracle


def framed(oracle, length, padded=True):
    """The tokenizer with special tokens, cutting and padding to a length."""
    oracle.post_processor = tokenizers.processors.BertProcessing(
        ("[SEP]", 3), ("[CLS]", 2)
    )
    oracle.enable_truncation(length, strategy="longest_first")
    if padded:
        oracle.enable_padding(length=length)
    return oracle
