"""Quantization-aware training: what integer kernels will compute."""

# Each of these fills the table of layers.
from kbig.compression.quantization import attention as attention
from kbig.compression.quantization import elementwise as elementwise
from kbig.compression.quantization import layers as layers
from kbig.compression.quantization import normalizations as normalizations
from kbig.compression.quantization import recurrent as recurrent
