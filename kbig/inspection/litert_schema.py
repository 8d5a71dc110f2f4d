"""Names of the numbers in a .tflite file, as its schema has them."""

from ai_edge_litert import schema_py_generated as schema

_OP_NAMES = {
    code: name
    for name, code in vars(schema.BuiltinOperator).items()
    if isinstance(code, int)
}
DTYPES = {
    code: name.lower()
    for name, code in vars(schema.TensorType).items()
    if isinstance(code, int)
}

# The name of the metadata's buffer, and how its own flatbuffer begins.
METADATA = "TFLITE_METADATA"
METADATA_IDENTIFIER = b"M001"
# Fields of its tables in their order, which is the field's number. A union
# has two. From mediapipe/tasks/metadata/metadata_schema.fbs, version 1.5.0, of
# github.com/google-ai-edge/mediapipe.
METADATA_FIELDS = {
    "ModelMetadata": (
        "name",
        "description",
        "version",
        "subgraph_metadata",
        "author",
        "license",
        "associated_files",
        "min_parser_version",
    ),
    "SubGraphMetadata": (
        "name",
        "description",
        "input_tensor_metadata",
        "output_tensor_metadata",
        "associated_files",
        "input_process_units",
        "output_process_units",
    ),
    "TensorMetadata": (
        "name",
        "description",
        "dimension_names",
        "content",
        "process_units",
        "stats",
        "associated_files",
    ),
    "AssociatedFile": ("name", "description", "type"),
    "Content": ("content_properties_type", "content_properties"),
    "FeatureProperties": (),
    "ImageProperties": ("color_space",),
    "ProcessUnit": ("options_type", "options"),
    "NormalizationOptions": ("mean", "std"),
    "BertTokenizerOptions": ("vocab_file",),
    "Stats": ("max", "min"),
}


def operator_name(code) -> str:
    """Names a builtin operator; of any other one it is `CUSTOM`.

    Args:
        code: an entry of a model's operator codes.
    """
    # Old files have the one number, new ones the other.
    return _OP_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
