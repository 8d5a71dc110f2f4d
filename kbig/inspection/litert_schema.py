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


def operator_name(code) -> str:
    """Names a builtin operator; of any other one it is `CUSTOM`.

    Args:
        code: an entry of a model's operator codes.
    """
    # Old files have the one number, new ones the other.
    return _OP_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
