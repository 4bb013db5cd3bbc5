"""Trained models as ONNX graphs, which run without Ironlake: in onnxruntime, in browsers, on devices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ironlake.udf.engine import scalar
from ironlake.udf.engine.sqltypes import BLOB

from .model import LinearModel, RegressionModel
from .softmax import SoftmaxModel

#: Versions of the operators and of the file format; runtimes since 2021 know them.
_OPSET, _IR_VERSION = 13, 8


@scalar(form="arrow")
def model_to_onnx(model: LinearModel | RegressionModel | SoftmaxModel) -> BLOB:
    """A trained model as an ONNX file.

    The graph takes ``features``, a float tensor of rows x features, and gives what the prediction functions give:
    ``score``; for classes ``label``, and ``probabilities`` in the order of the model's classes where the task has
    them; else ``value``.

    Parameters
    ----------
    model : a model that `predict` takes.

    Returns
    -------
    BLOB
        The content of a ``.onnx`` file; NULL if the model is NULL.

    Raises
    ------
    InvalidInputException
        If the package onnx is not installed, or the model does not fit together.

    References
    ----------
    Open Neural Network Exchange, operator set 13.

    Examples
    --------
    SELECT octet_length(model_to_onnx(logistic_fit(i % 3 = 0, [i / 100]))) > 100 AS exported FROM range(100) t(i);
    """
    import pyarrow as pa

    column: Any = model
    return pa.array([None if each is None else _file(each) for each in column.to_pylist()], pa.binary())  # type: ignore[return-value]


def _file(model: dict[str, Any]) -> bytes:
    """The ONNX file of a model."""
    try:
        from onnx import TensorProto, checker, helper
    except ModuleNotFoundError:
        raise ModuleNotFoundError("the package onnx is missing: pip install 'ironlake[onnx]'") from None

    graph = _Graph(model)
    outputs = graph.outputs()
    width = graph.weights.shape[0]
    made = helper.make_graph(
        graph.nodes,
        model["task"] or "model",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info(name, kind, ["rows", *shape]) for name, kind, shape in outputs],
        graph.constants,
    )
    file = helper.make_model(
        made, producer_name="ironlake", opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    checker.check_model(file, full_check=True)
    content: bytes = file.SerializeToString()
    return content


class _Graph:
    """The nodes of a model's graph."""

    def __init__(self, model: dict[str, Any]) -> None:
        self.model, self.task = model, model["task"]
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        classes, rows = model["classes"], model["coefficients"]
        if classes is None or rows is None:
            raise ValueError("argument model has no classes or no coefficients")
        self.classes: list[Any] = classes
        if "intercepts" in model:
            widths = {len(row) for row in rows}
            if len(widths) != 1 or len(rows) != len(classes) or len(model["intercepts"]) != len(classes):
                raise ValueError("argument model has not as many rows of coefficients and intercepts as classes")
            self.weights, self.bias = np.array(rows).T, np.array(model["intercepts"])
        else:
            if len(classes) not in (0, 2):
                raise ValueError(f"argument model has {len(classes)} classes; a linear model has two, or none")
            self.weights, self.bias = np.array(rows, np.float64).reshape(-1, 1), np.array([model["intercept"]])

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        """Put a constant into the graph."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Put an operation into the graph."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def outputs(self) -> list[tuple[str, int, list[int]]]:
        """Make the graph; gives name, type and shape, behind the rows, of each output."""
        from onnx import TensorProto

        weights = self.constant("weights", self.weights.astype(np.float32))
        bias = self.constant("bias", self.bias.astype(np.float32))
        several = "intercepts" in self.model
        table = self.node("Gemm", ["features", weights, bias], "score" if several else "scores")
        if several:
            self.node("Softmax", [table], "probabilities", axis=1)
            self._label(self.node("ArgMax", [table], "position", axis=1, keepdims=0))
            count = len(self.classes)
            return [
                ("label", TensorProto.STRING, []), ("probabilities", TensorProto.FLOAT, [count]),
                ("score", TensorProto.FLOAT, [count]),
            ]  # fmt: skip
        axis = self.constant("axis", np.array([1], np.int64))
        score = self.node("Squeeze", [table, axis], "score")
        found = [("score", TensorProto.FLOAT, [])]
        if not self.classes:
            self.node("Exp" if self.task == "poisson" else "Identity", [score], "value")
            return [("value", TensorProto.FLOAT, []), *found]
        zero = self.constant("zero", np.array(0, np.float32))
        above = self.node("Greater", [score, zero], "above")
        kind = self._label(self.node("Cast", [above], "position", to=TensorProto.INT64))
        found.insert(0, ("label", kind, []))
        if self.task in ("logistic", "modified_huber"):
            self._probabilities(table)
            found.insert(1, ("probabilities", TensorProto.FLOAT, [2]))
        return found

    def _label(self, position: str) -> int:
        """The class at a position; gives its type."""
        from onnx import TensorProto

        kind, values = TensorProto.STRING, np.array(self.classes, object)
        if "intercepts" not in self.model:
            whole = all(float(value).is_integer() for value in self.classes)
            kind = TensorProto.INT64 if whole else TensorProto.FLOAT
            values = np.array(self.classes, np.int64 if whole else np.float32)
        self.node("Gather", [self.constant("classes", values), position], "label")
        return int(kind)

    def _probabilities(self, table: str) -> None:
        """Those of the two classes, from a table with a score for the second."""
        if self.task == "logistic":
            share = self.node("Sigmoid", [table], "share")
            opposite = self.node("Sigmoid", [self.node("Neg", [table], "negative")], "opposite")
        else:
            bounds = [self.constant("low", np.array(-1, np.float32)), self.constant("high", np.array(1, np.float32))]
            one, half = (
                self.constant(name, np.array(value, np.float32)) for name, value in (("one", 1), ("half", 0.5))
            )
            shifted = self.node("Add", [self.node("Clip", [table, *bounds], "clipped"), one], "shifted")
            share = self.node("Mul", [shifted, half], "share")
            opposite = self.node("Sub", [one, share], "opposite")
        self.node("Concat", [opposite, share], "probabilities", axis=1)
