"""What is inside an .onnx file: its operators, axes and weights."""

import onnx
from onnx import defs

from kbig.export.onnx_graph import all_nodes

# Bytes of the smallest tensor that counts: not a shape, not a scalar.
_WEIGHT_BYTES = 64


def foreign_operators(model: onnx.ModelProto) -> list[str]:
    """Names the operators that onnxruntime does not have.

    Args:
        model: of an .onnx file.

    Returns:
        Those neither in the standard nor among the runtime's own, sorted;
        outside of the standard with their domain.
    """
    versions = {x.domain: x.version for x in model.opset_import}
    found = {(x.domain, x.op_type) for x in all_nodes(model.graph)}
    own = _runtime_operators() if any(domain for domain, _ in found) else set()
    return sorted(
        f"{domain}.{name}" if domain else name
        for domain, name in found
        if not _is_standard(domain, name, versions)
        and (domain, name) not in own
    )


def _is_standard(domain, name, versions) -> bool:
    if domain not in ("", "ai.onnx"):
        return False
    version = versions.get(domain, 0)
    return defs.has(name, version, "")


def _runtime_operators() -> set[tuple[str, str]]:
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    return {(x.domain, x.name) for x in runtime.get_all_operator_schema()}


def name_axes(model: onnx.ModelProto) -> None:
    """Names the free axes of what a model takes and gives.

    The first one is `batch`; another one has the name of its tensor and its
    number, as `token_ids_1`.

    Args:
        model: is changed.
    """
    for value in (*model.graph.input, *model.graph.output):
        for index, side in enumerate(value.type.tensor_type.shape.dim):
            if not side.HasField("dim_value"):
                side.dim_param = f"{value.name}_{index}" if index else "batch"


def weights_dtype(content: bytes) -> str:
    """Tells what the weights are stored as, and what computes with them.

    Args:
        content: of an .onnx file.

    Returns:
        `int8` when a constant is, `integers` when tensors between layers
        have ranges, too; otherwise `float32`.
    """
    graph = onnx.load_from_string(content).graph
    if any(x.op_type == "QuantizeLinear" for x in all_nodes(graph)):
        return "integers"
    small = {
        x.data_type
        for x in graph.initializer
        if len(x.raw_data) >= _WEIGHT_BYTES
    }
    is_int8 = small & {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    return "int8" if is_int8 else "float32"
