"""Reads a pointwise node of an ONNX model into the arguments of a `Pointwise`."""

from __future__ import annotations

import operator
import os
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from c1x1._doors import (
    CHANNELS_FIRST,
    Arguments,
    Array,
    check_kernel,
    one_or_all,
    refuse_padding,
    to_array,
)

_OPERATORS = ("Conv", "Gemm", "MatMul")


def from_onnx(model_or_path: Any, node: str | int | None) -> Arguments:
    """Arguments for a Conv, Gemm or MatMul of an ONNX model, and an Add of its bias behind it."""
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise ImportError(
            "from_onnx reads models with the onnx package: pip install onnx"
        ) from error
    model = model_or_path
    if isinstance(model, (str, os.PathLike)):
        model = onnx.load(os.fspath(model))
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(f"from_onnx takes an onnx.ModelProto or a path, not {type(model).__name__}")
    graph = _Graph(model.graph, numpy_helper.to_array, helper.get_attribute_value)
    return graph.only() if node is None else graph.named(node)


class _Graph:
    """An ONNX graph: who makes and who uses each value, and the reading of its nodes."""

    def __init__(
        self, graph: Any, tensor: Callable[[Any], Array], attribute: Callable[[Any], Any]
    ) -> None:
        self.nodes = list(graph.node)
        self.outputs = {value.name for value in graph.output}
        self.initializers = {value.name: value for value in graph.initializer}
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.users = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.users[name].append(node)
        self._tensor, self._attribute = tensor, attribute

    # -- nodes

    def is_readable(self, node: Any) -> bool:
        return node.op_type in _OPERATORS and node.domain in ("", "ai.onnx")

    def label(self, node: Any) -> str:
        return f"{node.op_type} {node.name or node.output[0]!r}"

    def only(self) -> Arguments:
        """The one node that can be read."""
        found, refused = [], []
        for node in filter(self.is_readable, self.nodes):
            try:
                found.append((node.name or node.output[0], self.read(node)))
            except ValueError as error:
                refused.append(error)
        if len(found) == 1:
            return found[0][1]
        if len(found) > 1:
            names = [repr(name) for name, _ in found[:20]] + ["..."] * (len(found) > 20)
            raise ValueError(
                f"the model has {len(found)} pointwise layers: pass node=, one of "
                + ", ".join(names)
            )
        if len(refused) == 1:
            raise refused[0]
        reasons = "; ".join(str(error) for error in refused[:5])
        raise ValueError(
            "the model has no pointwise layer: no 1x1 Conv, Gemm or MatMul with constant weights"
            + (f" ({reasons})" if reasons else "")
        )

    def named(self, wanted: str | int) -> Arguments:
        """The node of this name, output or index; the Add of its bias stands for it as well."""
        node = self.find(wanted)
        if node.op_type == "Add":
            for maker in [self.makers[name] for name in node.input if name in self.makers]:
                if self.is_readable(maker) and self.only_user(maker) is node:
                    arguments, end = self.read_through(maker)
                    if end is node:
                        return arguments
        if not self.is_readable(node):
            raise ValueError(
                f"node {self.label(node)} is no Conv, Gemm or MatMul, nor the Add of one's bias"
            )
        return self.read(node)

    def find(self, wanted: str | int) -> Any:
        if isinstance(wanted, str):
            found = [n for n in self.nodes if n.name == wanted]
            found = found or [n for n in self.nodes if wanted in n.output]
            if len(found) != 1:
                names = [repr(n.name or n.output[0]) for n in filter(self.is_readable, self.nodes)]
                raise ValueError(
                    f"{len(found) or 'no'} nodes of the model have the name or output {wanted!r}; "
                    f"its Conv, Gemm and MatMul: {', '.join(names[:20]) or 'none'}"
                )
            return found[0]
        try:
            return self.nodes[operator.index(wanted)]
        except TypeError:
            kind = type(wanted).__name__
            raise TypeError(f"node must be a str, an int or None, not {kind}") from None
        except IndexError:
            raise ValueError(
                f"node is {wanted}, but the model has {len(self.nodes)} nodes"
            ) from None

    def only_user(self, node: Any) -> Any:
        """The node that alone uses this node's result, or None."""
        name = node.output[0]
        users = self.users[name]
        return users[0] if len(users) == 1 and name not in self.outputs else None

    # -- values

    def attributes(self, node: Any) -> dict[str, Any]:
        return {a.name: self._attribute(a) for a in node.attribute}

    def constant(self, name: str, of: str) -> Array:
        """The value of an initializer or a Constant, also through an Identity or a Transpose."""
        maker = self.makers.get(name)
        tensor = self.initializers.get(name)
        if maker is not None and maker.op_type == "Constant":
            ((kind, value),) = self.attributes(maker).items()
            if kind in ("value_float", "value_floats"):
                return np.asarray(value, np.float32)
            tensor = value if kind == "value" else None
        elif maker is not None and maker.op_type == "Identity":
            return self.constant(maker.input[0], of)
        elif maker is not None and maker.op_type == "Transpose":
            return self.constant(maker.input[0], of).transpose(self.attributes(maker).get("perm"))
        if tensor is None:
            origin = f"the result of {self.label(maker)}" if maker is not None else "an input"
            raise ValueError(
                f"{of} {name!r} is {origin}; expected a constant: simplify the model first, or "
                "pass the weights to Pointwise"
            )
        if tensor.data_location == 1:
            raise ValueError(
                f"{of} {name!r} lies in a file beside the model: pass the model's path, or load "
                "the model together with its external data"
            )
        return to_array(self._tensor(tensor), f"{of} {name!r}")

    def given(self, node: Any, at: int, of: str) -> Array | None:
        """The constant input number `at`, or None where the node has none."""
        if len(node.input) <= at or not node.input[at]:
            return None
        return self.constant(node.input[at], f"the {of} of {self.label(node)}")

    def added(self, node: Any, c_out: int, ndim: int, axis: int) -> Array | None:
        """What an Add behind the node adds to its channels, or None where there is no such Add."""
        user = self.only_user(node)
        if user is None or user.op_type != "Add":
            return None
        (other,) = [name for name in user.input if name != node.output[0]]
        try:
            return per_channel(self.constant(other, "what is added"), c_out, ndim, axis)
        except ValueError:
            return None

    # -- reading

    def read(self, node: Any) -> Arguments:
        return self.read_through(node)[0]

    def read_through(self, node: Any) -> tuple[Arguments, Any]:
        """The arguments, and the node whose result the layer gives: this one or an Add behind."""
        read = {"Conv": self.conv, "Gemm": self.gemm, "MatMul": self.matmul}[node.op_type]
        arguments = read(node)
        w = arguments["w"]
        if node.op_type == "Conv":
            more = self.added(node, w.shape[0], w.ndim, 1)
        else:
            # A MatMul's result has as many axes as x, at least this one.
            more = self.added(node, w.shape[-1], 2 if node.op_type == "Gemm" else 1, -1)
        if more is None:
            return arguments, node
        bias = arguments["bias"]
        arguments["bias"] = more if bias is None else bias + more
        return arguments, self.only_user(node)

    def conv(self, node: Any) -> Arguments:
        attributes, label = self.attributes(node), self.label(node)
        w = self.weights(node)
        if w.ndim - 2 not in CHANNELS_FIRST:
            raise ValueError(f"{label} has {w.ndim - 2} spatial axes; expected 1, 2 or 3")
        check_kernel(label, w.shape[2:])
        pads = attributes.get("pads", ())
        # With auto_pad there are no pads, and none are needed around one pixel.
        if any(pads):
            raise refuse_padding(label, tuple(pads))
        return {
            "w": w,
            "bias": self.given(node, 2, "bias"),
            "layout": CHANNELS_FIRST[w.ndim - 2],
            "groups": attributes.get("group", 1),
            "stride": one_or_all(attributes.get("strides", (1,))),
        }

    def gemm(self, node: Any) -> Arguments:
        attributes, label = self.attributes(node), self.label(node)
        if attributes.get("transA", 0):
            raise ValueError(
                f"{label} transposes x (transA=1): pass the weights to Pointwise, and x.T"
            )
        w = self.weights(node, 2)
        w = w.T if attributes.get("transB", 0) else w
        bias = self.given(node, 2, "bias")
        if bias is not None:
            bias = per_channel(bias, w.shape[1], 2, -1)
        return {
            "w": _scaled(w, attributes.get("alpha", 1.0), label),
            "bias": None if bias is None else _scaled(bias, attributes.get("beta", 1.0), label),
        }

    def matmul(self, node: Any) -> Arguments:
        return {"w": self.weights(node, 2), "bias": None}

    def weights(self, node: Any, ndim: int | None = None) -> Array:
        w = self.given(node, 1, "weights")
        if w is None or (ndim is not None and w.ndim != ndim):
            found = "none" if w is None else f"of shape {w.shape}"
            raise ValueError(f"the weights of {self.label(node)} are {found}; expected a matrix")
        return w


def per_channel(values: Array, c_out: int, ndim: int, axis: int) -> Array:
    """Values that vary along the channels of a result of `ndim` axes only, as (C_out,) or ()."""
    shape = (1,) * (ndim - values.ndim) + values.shape
    others = shape[:axis] + shape[axis:][1:]
    if len(shape) != ndim or shape[axis] not in (1, c_out) or any(size != 1 for size in others):
        raise ValueError(
            f"a bias of shape {values.shape} is not one value for each of {c_out} output channels: "
            "add it to the result"
        )
    return values.reshape(()) if values.size == 1 else values.reshape(-1)


def _scaled(values: Array, factor: float, label: str) -> Array:
    if factor == 1:
        return values
    if values.dtype.kind != "f":
        raise ValueError(
            f"{label} scales {values.dtype} values by {factor}; expected floating point"
        )
    return np.asarray(values.astype(np.float64) * factor).astype(values.dtype)
