"""What OpenVINO's graph of a decoder still needs before it is saved as IR.

Products read their weights as they lie, so that nothing is copied and NNCF finds every matrix; the cache
moves inside, as OpenVINO GenAI wants it: state that is read, reordered by `beam_idx` and grown by each call.
https://docs.openvino.ai/2025/openvino-workflow/running-inference/inference-request/stateful-models.html
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fairway.convert.graph_runtimes import ORDER, library

PAST, PRESENT = "past_key_values", "present"


def read_weights_as_stored(model: Any) -> None:  # noqa: ANN401 (OpenVINO's own)
    """A product with a transposed weight becomes one that transposes while it reads."""
    operators = library("openvino.opset13", "openvino")
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        turned = node.input_value(1).get_node()
        if turned.get_type_name() == "Transpose" and _is_weight(turned.input_value(0).get_node()):
            product = operators.matmul(node.input_value(0), turned.input_value(0), False, True)
            node.output(0).replace(product.output(0))


def _is_weight(node: Any) -> bool:  # noqa: ANN401
    """A constant matrix: its transpose can only swap rows and columns."""
    return bool(node.get_type_name() == "Constant" and len(node.get_output_shape(0)) == 2)


def keep_cache_inside(model: Any) -> None:  # noqa: ANN401
    """Inputs `past_key_values.*` and outputs `present.*` become variables; `beam_idx` int32 [batch] comes in.

    A variable that was not written yet is empty: [batch, key-value heads, 0, head size].
    """
    operators = library("openvino.opset13", "openvino")
    passes = library("openvino.passes", "openvino")
    order = operators.parameter([-1], np.int32, name=ORDER)
    order.output(0).set_names({ORDER})
    model.add_parameters([order])
    pairs, first = {}, operators.constant(0)
    for port in [each for each in model.inputs if each.any_name.startswith(PAST)]:
        readers = port.get_target_inputs()
        chosen = operators.gather(port, order, first)
        for reader in readers:
            reader.replace_source_output(chosen.output(0))
        pairs[port.any_name] = port.any_name.replace(PAST, PRESENT)
    model.validate_nodes_and_infer_types()
    manager = passes.Manager()
    manager.register_pass(passes.MakeStateful(pairs))
    manager.run_passes(model)
    _begin_empty(model, operators)
    model.validate_nodes_and_infer_types()


def _begin_empty(model: Any, operators: Any) -> None:  # noqa: ANN401
    sizes = operators.shape_of(model.input("input_ids"), "i64")
    batch = operators.gather(sizes, operators.constant(np.array([0])), operators.constant(0))
    for node in model.get_ops():
        if node.get_type_name() == "ReadValue":
            shape = node.get_output_partial_shape(0)
            rest = np.array([shape[1].get_length(), 0, shape[3].get_length()])
            whole = operators.concat([batch, operators.constant(rest)], 0)
            node.set_arguments([operators.broadcast(operators.constant(np.float32(0)), whole).output(0)])
