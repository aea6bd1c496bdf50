"""The doors of Pointwise: each layer equals that of the framework it was read from."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import pickle
import re
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import frameworks
import numpy as np
import pytest

import c1x1
from c1x1 import _doors, _folding


def assert_close(got, want, dtype=None):
    """Equal shapes, and values but for the order of summation."""
    want = np.asarray(want)
    assert got.shape == want.shape
    assert got.dtype == (want.dtype if dtype is None else dtype)
    bound = 2e-5 if got.dtype == np.float32 else 1e-11
    np.testing.assert_allclose(got, want, rtol=bound, atol=bound)


def revived(layer):
    """The layer, after it was pickled and copied."""
    return pickle.loads(pickle.dumps(copy.deepcopy(copy.copy(layer))))


def refuses(error, text):
    return pytest.raises(error, match=re.escape(text))


# ---- PyTorch ---------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return frameworks.need("torch")


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_convolution(torch, rng, axes, groups, stride, has_bias, dtype):
    kind = getattr(torch.nn, f"Conv{axes}d")
    module = kind(6, 9, 1, stride=stride, groups=groups, bias=has_bias, dtype=getattr(torch, dtype))
    x = rng.standard_normal((2, 6, 7, 5, 4)[: axes + 2]).astype(dtype)
    layer = revived(c1x1.Pointwise.from_torch(module))
    assert layer.layout == {1: "NCW", 2: "NCHW", 3: "NCDHW"}[axes]
    assert (layer.groups, layer.stride) == (groups, stride)
    assert_close(layer(x), module(torch.from_numpy(x)).detach().numpy())


@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 4, 6)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_torch_linear(torch, rng, shape, has_bias):
    module = torch.nn.Linear(6, 9, bias=has_bias)
    x = rng.standard_normal(shape).astype(np.float32)
    layer = revived(c1x1.Pointwise.from_torch(module))
    assert_close(layer(x), module(torch.from_numpy(x)).detach().numpy())


def test_a_stride_per_axis_and_one_of_the_call(torch, rng):
    module = torch.nn.Conv2d(3, 4, 1, stride=(3, 2), dilation=5)
    layer = revived(c1x1.Pointwise.from_torch(module))
    x = rng.standard_normal((2, 3, 10, 9)).astype(np.float32)
    assert layer.stride == (3, 2)
    assert repr(layer).endswith("bias, layout='NCHW', stride=(3, 2)>")
    assert_close(layer(x), module(torch.from_numpy(x)).detach().numpy())
    for stride in (1, 2, (1, 3)):
        want = c1x1.conv(x, layer.weight, layer.bias, layout="NCHW", stride=stride)
        np.testing.assert_array_equal(layer(x, stride=stride), want)


def test_torch_parameters_of_other_kinds(torch, rng):
    """Parametrized, transposed in memory, half precision."""
    x = rng.standard_normal((4, 6)).astype(np.float32)
    module = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(6, 9))
    want = module(torch.from_numpy(x)).detach().numpy()
    assert_close(c1x1.Pointwise.from_torch(module)(x), want)
    module = torch.nn.Linear(6, 9)
    module.weight.data = module.weight.data.T.contiguous().T
    want = module(torch.from_numpy(x)).detach().numpy()
    assert_close(c1x1.Pointwise.from_torch(module)(x), want)
    assert c1x1.Pointwise.from_torch(module.half()).weight.dtype == np.float16
    layer = c1x1.Pointwise.from_torch(module.bfloat16())
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.weight, module.weight.detach().float().numpy().T)


def test_later_changes_of_the_module_do_not_reach_the_layer(torch):
    module = torch.nn.Linear(3, 3)
    layer = c1x1.Pointwise.from_torch(module)
    before = layer.weight.copy()
    with torch.no_grad():
        module.weight.zero_()
    np.testing.assert_array_equal(layer.weight, before)


@pytest.mark.parametrize("padding", ["same", "valid", 0])
def test_torch_padding_that_pads_nothing(torch, rng, padding):
    module = torch.nn.Conv2d(3, 4, 1, padding=padding, padding_mode="reflect")
    x = rng.standard_normal((1, 3, 5, 6)).astype(np.float32)
    want = module(torch.from_numpy(x)).detach().numpy()
    assert_close(c1x1.Pointwise.from_torch(module)(x), want)


def test_torch_what_the_message_on_padding_says_is_so(torch, rng):
    x = rng.standard_normal((1, 3, 5, 6)).astype(np.float32)
    for stride in (1, 2):
        padded = torch.nn.Conv2d(3, 4, 1, padding=1, stride=stride)
        plain = torch.nn.Conv2d(3, 4, 1, stride=stride)
        plain.load_state_dict(padded.state_dict())
        layer = c1x1.Pointwise.from_torch(plain)
        want = padded(torch.from_numpy(x)).detach().numpy()
        rim = ((0, 0), (0, 0), (1, 1), (1, 1))
        assert_close(layer(np.pad(x, rim)), want)
        if stride == 1:
            y = np.pad(layer(x), rim)
            inside = np.pad(np.ones((1, 1, 5, 6), bool), rim)
            assert_close(np.where(inside, y, layer.bias[:, None, None]), want)


def test_torch_refusals(torch):
    nn, door = torch.nn, c1x1.Pointwise.from_torch
    with refuses(ValueError, "Conv2d has kernel size (3, 1); expected 1 along every axis"):
        door(nn.Conv2d(3, 4, (3, 1)))
    with refuses(ValueError, "Conv2d pads x with zeros by (1, 0), and Pointwise does not pad"):
        door(nn.Conv2d(3, 4, 1, padding=(1, 0)))
    expected = "from_torch takes a torch.nn.Conv1d, Conv2d, Conv3d or Linear, not "
    with refuses(TypeError, expected + "torch.nn.modules.container.Sequential: of a model, pass"):
        door(nn.Sequential(nn.Linear(3, 4)))
    for other in (nn.ConvTranspose2d(3, 4, 1), nn.Bilinear(3, 4, 5), torch.ones(3, 3), None, 3):
        with refuses(TypeError, expected):
            door(other)
    for lazy in (nn.LazyLinear(3), nn.LazyConv2d(3, 1)):
        with refuses(ValueError, "cannot be read: Attempted to use an uninitialized parameter"):
            door(lazy)
    with refuses(ValueError, "the weight of Linear cannot be read: Cannot copy out of meta tensor"):
        door(nn.Linear(3, 4, device="meta"))

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    with refuses(TypeError, "Doubled replaces Linear.forward, so its weights alone do not tell"):
        door(Doubled(3, 4))


# ---- Keras -----------------------------------------------------------------------------------


@pytest.fixture
def keras():
    return frameworks.need("keras")


def keras_output(keras, layer, x):
    return np.asarray(keras.ops.convert_to_numpy(layer(x)))


# Keras' own arrays answer NumPy 2 with it.
quiet_keras = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def keras_convolution(keras, rng, axes, data_format, **keywords):
    """A built layer of 6 channels, with a bias that is not zero, and an image for it."""
    spatial = (7, 5, 4)[:axes]
    shape = (2, *spatial, 6) if data_format == "channels_last" else (2, 6, *spatial)
    layer = getattr(keras.layers, f"Conv{axes}D")(
        9, 1, data_format=data_format, bias_initializer="random_normal", **keywords
    )
    layer.build((None, *shape[1:]))
    return layer, rng.standard_normal(shape).astype(layer.dtype)


@quiet_keras
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(
    ("stride", "padding"), [(1, "same"), (2, "same"), (2, "valid"), (3, "same")]
)
def test_keras_convolution(keras, rng, axes, data_format, groups, stride, padding):
    made, x = keras_convolution(
        keras, rng, axes, data_format, groups=groups, strides=stride, padding=padding
    )
    layer = revived(c1x1.Pointwise.from_keras(made))
    assert layer.stride == stride
    assert_close(layer(x), keras_output(keras, made, x))


@quiet_keras
@pytest.mark.parametrize("keywords", [{"use_bias": False}, {"dtype": "float64"}])
def test_keras_convolution_of_other_kinds(keras, rng, keywords):
    made, x = keras_convolution(keras, rng, 2, "channels_last", **keywords)
    layer = c1x1.Pointwise.from_keras(made)
    assert (layer.bias is None) == ("use_bias" in keywords)
    assert_close(layer(x), keras_output(keras, made, x))


@quiet_keras
def test_keras_causal_padding(keras, rng):
    made, x = keras_convolution(keras, rng, 1, "channels_last", padding="causal", dilation_rate=3)
    assert_close(c1x1.Pointwise.from_keras(made)(x), keras_output(keras, made, x))


@quiet_keras
@pytest.mark.parametrize("shape", [(5, 6), (2, 3, 6)])
def test_keras_dense(keras, rng, shape):
    made = keras.layers.Dense(4, bias_initializer="random_normal")
    made.build((None, 6))
    x = rng.standard_normal(shape).astype(np.float32)
    layer = revived(c1x1.Pointwise.from_keras(made))
    assert_close(layer(x), keras_output(keras, made, x))
    made.enable_lora(2)
    made.lora_kernel_b.assign(rng.standard_normal((2, 4)))
    assert_close(c1x1.Pointwise.from_keras(made)(x), keras_output(keras, made, x))


KERAS_ACTIVATIONS = {
    **{name: name for name in ("relu", "relu6", "sigmoid", "tanh", "silu", "gelu", "elu")},
    "swish": "silu",
    "hard_swish": "hardswish",
    "hard_silu": "hardswish",
    "hard_sigmoid": "hardsigmoid",
    "leaky_relu": ("leaky_relu", 0.2),
}


@pytest.mark.parametrize("name", KERAS_ACTIVATIONS)
def test_keras_activation_is_known(keras, name):
    made = keras.layers.Dense(4, activation=name)
    made.build((None, 6))
    assert _doors.from_keras(made)["activation"] == KERAS_ACTIVATIONS[name]


@quiet_keras
@pytest.mark.parametrize("name", KERAS_ACTIVATIONS)
def test_keras_activation(keras, rng, name):
    for data_format in ("channels_last", "channels_first"):
        made, x = keras_convolution(keras, rng, 2, data_format, activation=name)
        layer = revived(c1x1.Pointwise.from_keras(made))
        assert_close(layer(4 * x), keras_output(keras, made, 4 * x))


@quiet_keras
def test_keras_refusals(keras):
    layers, door = keras.layers, c1x1.Pointwise.from_keras

    def built(layer, shape=(None, 8, 8, 6)):
        layer.build(shape)
        return layer

    with refuses(ValueError, "Conv2D has kernel size (1, 3); expected 1 along every axis"):
        door(built(layers.Conv2D(4, (1, 3))))
    with refuses(ValueError, "Dense is not built, so it has no weights: call its build("):
        door(layers.Dense(4))
    with refuses(
        ValueError, "Dense has the activation 'softmax'; expected one of Keras' own linear"
    ):
        door(built(layers.Dense(4, activation="softmax")))
    with refuses(ValueError, "Dense has the activation 'LeakyReLU'"):
        door(built(layers.Dense(4, activation=layers.LeakyReLU(0.1))))

    def relu(x):
        return x

    with refuses(ValueError, "apply 'relu' to the result"):
        door(built(layers.Dense(4, activation=relu)))
    quantized = built(layers.Dense(4), (None, 6))
    quantized.quantize("int8")
    with refuses(ValueError, "Dense is quantized (int8): build from it before that"):
        door(quantized)
    expected = "from_keras takes a Conv1D, Conv2D, Conv3D or Dense of Keras, not "
    for other in (built(layers.Conv2DTranspose(4, 1)), layers.Flatten(), keras.Sequential(), None):
        with refuses(TypeError, expected):
            door(other)

    class Doubled(layers.Dense):
        def call(self, x):
            return 2 * super().call(x)

    with refuses(TypeError, "Doubled replaces Dense.call, so its weights alone do not tell"):
        door(built(Doubled(4)))


def test_keras_2_has_another_hard_sigmoid():
    def hard_sigmoid(x):
        return x

    hard_sigmoid.__module__ = "tf_keras.src.activations"
    dense = type("Dense", (), {"__module__": "tf_keras.src.layers.core.dense"})()
    vars(dense).update(kernel=np.eye(2), bias=None, use_bias=False, activation=hard_sigmoid)
    with refuses(ValueError, "Dense has the activation 'hard_sigmoid'"):
        _doors.from_keras(dense)


# ---- ONNX ------------------------------------------------------------------------------------


@pytest.fixture
def onnx():
    return frameworks.need("onnx")


class Model:
    """Writes a small model, runs it and reads it."""

    def __init__(self, onnx):
        self.onnx, self.nodes, self.constants = onnx, [], []

    def constant(self, name, values):
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def proto(self, ndim=2, dtype=np.float32, outputs=None):
        helper = self.onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        x = helper.make_tensor_value_info("x", kind, [None] * ndim)
        names = outputs or [self.nodes[-1].output[0]]
        ends = [helper.make_tensor_value_info(name, kind, None) for name in names]
        graph = helper.make_graph(self.nodes, "graph", [x], ends, self.constants)
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def check(self, x, node=None, **keywords):
        """The layer, after its results were compared with the model's."""
        model = self.proto(x.ndim, x.dtype, **keywords)
        layer = revived(c1x1.Pointwise.from_onnx(model, node))
        from onnx.reference import ReferenceEvaluator

        assert_close(layer(x), ReferenceEvaluator(model).run(None, {"x": x})[0], x.dtype)
        # ONNX Runtime has no float64 Conv for the CPU.
        is_double_conv = x.dtype == np.float64 and "Conv" in [n.op_type for n in self.nodes]
        if is_double_conv or importlib.util.find_spec("onnxruntime") is None:
            return layer
        import onnxruntime

        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        assert_close(layer(x), session.run(None, {"x": x})[0], x.dtype)
        return layer


@pytest.fixture
def model(onnx):
    return Model(onnx)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnx_conv(model, rng, axes, groups, has_bias, dtype):
    w = rng.standard_normal((9, 6 // groups, *[1] * axes)).astype(dtype)
    inputs = ["x", model.constant("w", w)]
    if has_bias:
        inputs.append(model.constant("b", rng.standard_normal(9).astype(dtype)))
    strides = [2, 1, 3][:axes]
    model.node(
        "Conv", inputs, "y", group=groups, strides=strides, kernel_shape=[1] * axes,
        pads=[0, 0] * axes, dilations=[2] * axes,
    )  # fmt: skip
    x = rng.standard_normal((2, 6, 7, 5, 4)[: axes + 2]).astype(dtype)
    layer = model.check(x)
    assert layer.stride == (2 if axes == 1 else tuple(strides))
    assert (layer.bias is not None) == has_bias


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("size", [5, 6, 7])
def test_onnx_auto_pad(model, rng, auto_pad, size):
    w = model.constant("w", rng.standard_normal((4, 3, 1, 1)).astype(np.float32))
    model.node("Conv", ["x", w], "y", auto_pad=auto_pad, strides=[3, 2])
    model.check(rng.standard_normal((1, 3, size, size)).astype(np.float32))


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("shape", [None, (), (1,), (9,), (1, 9), (1, 1)])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 3.0)])
def test_onnx_gemm(model, rng, turned, shape, alpha, beta):
    w = rng.standard_normal((9, 6) if turned else (6, 9)).astype(np.float32)
    inputs = ["x", model.constant("w", w)]
    if shape is not None:
        inputs.append(model.constant("c", rng.standard_normal(shape).astype(np.float32)))
    model.node("Gemm", inputs, "y", transB=turned, alpha=alpha, beta=beta)
    model.check(rng.standard_normal((5, 6)).astype(np.float32))


@pytest.mark.parametrize("shape", [(5, 6), (2, 3, 4, 6)])
def test_onnx_matmul(model, rng, shape):
    model.node("MatMul", ["x", model.constant("w", rng.standard_normal((6, 9)))], "y")
    assert model.check(rng.standard_normal(shape)).bias is None


def test_onnx_matmul_and_add(model, rng):
    w, b = rng.standard_normal((6, 9)), rng.standard_normal(9)
    model.node("MatMul", ["x", model.constant("w", w)], "sum")
    model.node("Add", [model.constant("b", b), "sum"], "y")
    x = rng.standard_normal((2, 3, 6))
    for node in (None, "sum", "y", 0, 1, -1):
        np.testing.assert_array_equal(model.check(x, node).bias, b)


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), (1,)])
def test_onnx_conv_and_add(model, rng, shape):
    w = model.constant("w", rng.standard_normal((4, 3, 1, 1)))
    model.node("Conv", ["x", w, model.constant("b", rng.standard_normal(4))], "sum")
    model.node("Add", ["sum", model.constant("more", rng.standard_normal(shape))], "y")
    model.check(rng.standard_normal((2, 3, 5, 5)))


def test_onnx_an_add_that_is_no_bias_stays_out(model, rng):
    w = model.constant("w", rng.standard_normal((3, 3)))
    model.node("MatMul", ["x", w], "sum")
    model.node("Add", ["sum", "x"], "y")
    proto = model.proto(2, np.float64)
    for node in (None, "sum", 0):
        assert c1x1.Pointwise.from_onnx(proto, node).bias is None
    with refuses(ValueError, "node Add 'y' is no Conv, Gemm or MatMul, nor the Add of one's bias"):
        c1x1.Pointwise.from_onnx(proto, "y")
    # Per row, not per channel; a sum that is a result of the model; one with another user.
    cases = [(np.ones((3, 1)), None), (np.ones(3), ["y", "sum"]), (np.ones(3), ["y", "z"])]
    for values, outputs in cases:
        other = Model(model.onnx)
        other.node("MatMul", ["x", other.constant("w", np.eye(3))], "sum")
        other.node("Add", ["sum", other.constant("b", values)], "y")
        if outputs == ["y", "z"]:
            other.node("Relu", ["sum"], "z")
        proto = other.proto(2, np.float64, outputs)
        assert c1x1.Pointwise.from_onnx(proto).bias is None


def test_onnx_constants_in_nodes(model, rng):
    numpy_helper = model.onnx.numpy_helper
    w = rng.standard_normal((9, 6)).astype(np.float32)
    model.node("Constant", [], "w0", value=numpy_helper.from_array(w))
    model.node("Identity", ["w0"], "w1")
    model.node("Transpose", ["w1"], "w", perm=[1, 0])
    model.node("MatMul", ["x", "w"], "sum")
    model.node("Constant", [], "b", value_floats=[float(i) for i in range(9)])
    model.node("Add", ["sum", "b"], "y")
    layer = model.check(rng.standard_normal((5, 6)).astype(np.float32))
    np.testing.assert_array_equal(layer.bias, np.arange(9.0))


def test_onnx_bfloat16_becomes_float32(model):
    w = model.onnx.helper.make_tensor("w", model.onnx.TensorProto.BFLOAT16, (2, 1), [1.5, -2.0])
    model.constants.append(w)
    model.node("MatMul", ["x", "w"], "y")
    layer = c1x1.Pointwise.from_onnx(model.proto())
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.weight, [[1.5], [-2.0]])


@pytest.fixture
def three(model, rng):
    """A model of two pointwise layers, a 3x3 convolution and what lies between."""
    w = [rng.standard_normal(s).astype(np.float32) for s in ((4, 3, 1, 1), (4, 4, 3, 3), (5, 4))]
    model.node("Conv", ["x", model.constant("w0", w[0])], "a", name="first")
    model.node("Relu", ["a"], "b", name="relu")
    model.node("Conv", ["b", model.constant("w1", w[1])], "c", name="wide")
    model.node("GlobalAveragePool", ["c"], "d")
    model.node("Flatten", ["d"], "e")
    model.node("Gemm", ["e", model.constant("w2", w[2])], "f", transB=1)
    return model.proto(4), w


def test_onnx_nodes_by_name_output_and_index(three, tmp_path, onnx):
    proto, w = three
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    for source in (proto, path, str(path)):
        for node in ("first", "a", 0, np.int64(0)):
            np.testing.assert_array_equal(c1x1.Pointwise.from_onnx(source, node).weight, w[0])
        for node in ("f", 5, -1):
            np.testing.assert_array_equal(c1x1.Pointwise.from_onnx(source, node).weight, w[2].T)


def test_onnx_refusals(three, model):
    proto, _ = three
    door = c1x1.Pointwise.from_onnx
    with refuses(ValueError, "the model has 2 pointwise layers: pass node=, one of 'first', 'f'"):
        door(proto)
    with refuses(ValueError, "Conv 'wide' has kernel size (3, 3); expected 1 along every axis"):
        door(proto, "wide")
    with refuses(ValueError, "no nodes of the model have the name or output 'z'; its Conv, Gemm"):
        door(proto, "z")
    with refuses(ValueError, "node Relu 'relu' is no Conv, Gemm or MatMul"):
        door(proto, "relu")
    with refuses(ValueError, "node is 6, but the model has 6 nodes"):
        door(proto, 6)
    with refuses(TypeError, "node must be a str, an int or None, not float"):
        door(proto, 1.0)
    with refuses(TypeError, "from_onnx takes an onnx.ModelProto or a path, not dict"):
        door({})
    with pytest.raises(FileNotFoundError):
        door("there_is_no_such_model.onnx")


@pytest.mark.parametrize(
    ("node", "values", "text"),
    [
        ("Conv pads=1,1,1,1", (4, 3, 1, 1), "Conv 'y' pads x with zeros by (1, 1, 1, 1)"),
        ("Conv", (4, 3, 1, 1, 1, 1), "Conv 'y' has 4 spatial axes; expected 1, 2 or 3"),
        ("Conv", (4, 3, 3), "Conv 'y' has kernel size (3,)"),
        ("Gemm transA=1", (4, 3), "Gemm 'y' transposes x (transA=1)"),
        (
            "MatMul",
            (2, 3, 4),
            "the weights of MatMul 'y' are of shape (2, 3, 4); expected a matrix",
        ),
        ("MatMul", (4,), "the weights of MatMul 'y' are of shape (4,); expected a matrix"),
        ("MatMul", None, "the weights of MatMul 'y' 'x' is an input; expected a constant"),
        ("Relu", None, "the model has no pointwise layer: no 1x1 Conv, Gemm or MatMul"),
    ],
)
def test_onnx_nodes_that_are_not_pointwise(model, node, values, text):
    kind, *attributes = node.split()
    attributes = dict(a.split("=") for a in attributes)
    numbers = {k: [int(n) for n in v.split(",")] for k, v in attributes.items()}
    numbers = {k: v[0] if len(v) == 1 else v for k, v in numbers.items()}
    w = "x" if values is None else model.constant("w", np.ones(values, np.float32))
    model.node(kind, ["x"] if kind == "Relu" else ["x", w], "y", **numbers)
    with refuses(ValueError, text):
        c1x1.Pointwise.from_onnx(model.proto(len(values or (1, 1))))


def test_onnx_other_refusals(model, onnx, tmp_path):
    door = c1x1.Pointwise.from_onnx
    c = model.constant("c", np.ones((5, 1), np.float32))
    w = model.constant("w", np.ones((3, 2), np.float32))
    model.node("Gemm", ["x", w, c], "y")
    with refuses(
        ValueError, "a bias of shape (5, 1) is not one value for each of 2 output channels"
    ):
        door(model.proto())
    other = Model(onnx)
    other.node("Gemm", ["x", other.constant("w", np.ones((3, 2), np.int32))], "y", alpha=0.5)
    with refuses(ValueError, "Gemm 'y' scales int32 values by 0.5; expected floating point"):
        door(other.proto(dtype=np.int32))
    other.node("Cast", ["x"], "v", to=onnx.TensorProto.INT32)
    other.node("MatMul", ["x", "v"], "z")
    with refuses(ValueError, "the weights of MatMul 'z' 'v' is the result of Cast 'v'"):
        door(other.proto(dtype=np.int32), "z")
    onnx.save(
        model.proto(), tmp_path / "model.onnx", save_as_external_data=True, location="weights",
        size_threshold=0,
    )  # fmt: skip
    without = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    with refuses(ValueError, "lies in a file beside the model: pass the model's path"):
        door(without)
    with refuses(ValueError, "a bias of shape (5, 1)"):
        door(tmp_path / "model.onnx")


def test_onnx_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with refuses(ImportError, "from_onnx reads models with the onnx package: pip install onnx"):
        c1x1.Pointwise.from_onnx("model.onnx")


# ---- scikit-learn ----------------------------------------------------------------------------


@pytest.fixture
def sklearn():
    frameworks.need("sklearn")
    from sklearn import decomposition, discriminant_analysis, linear_model, preprocessing, svm

    return SimpleNamespace(
        **{
            name: getattr(module, name)
            for module in (decomposition, discriminant_analysis, linear_model, preprocessing, svm)
            for name in module.__all__
        }
    )


def samples(rng, dtype=np.float64):
    """120 samples of 6 channels, one number and three numbers to predict, and three classes."""
    x = rng.standard_normal((120, 6)) @ rng.standard_normal((6, 6)) + 3
    y = x @ rng.standard_normal((6, 3)) + 0.1 * rng.standard_normal((120, 3))
    return x.astype(dtype), y[:, 0], y, np.argmax(y - y.mean(axis=0), axis=1)


def compare(estimator, method, x, dtype=None):
    layer = revived(c1x1.Pointwise.from_sklearn(estimator))
    want = getattr(estimator, method)(x)
    assert_close(layer(x), want, dtype)
    image = x.reshape(4, 3, 10, 6)
    assert_close(layer(image), want.reshape(4, 3, 10, *want.shape[1:]), dtype)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sklearn_pca(sklearn, rng, whiten, dtype):
    x = samples(rng, dtype)[0]
    compare(sklearn.PCA(3, whiten=whiten).fit(x), "transform", x)
    compare(sklearn.IncrementalPCA(3, whiten=whiten).fit(x.astype(float)), "transform", x, float)
    compare(sklearn.TruncatedSVD(3).fit(x), "transform", x)


@pytest.mark.parametrize("has_mean", [True, False])
@pytest.mark.parametrize("has_std", [True, False])
def test_sklearn_scaler(sklearn, rng, has_mean, has_std):
    x = samples(rng)[0]
    x[:, 2] = 7  # a channel without variance
    scaler = sklearn.StandardScaler(with_mean=has_mean, with_std=has_std)
    compare(scaler.fit(x), "transform", x)


def test_sklearn_scaler_keeps_what_is_not_a_number_in_its_channel(sklearn, rng):
    x = samples(rng)[0]
    scaler = sklearn.StandardScaler().fit(x)
    x[3, 1] = np.nan
    compare(scaler, "transform", x)


REGRESSORS = {
    "LinearRegression": {}, "Ridge": {}, "Lasso": {"alpha": 0.01}, "ElasticNet": {"alpha": 0.01},
    "BayesianRidge": {}, "HuberRegressor": {"max_iter": 1000}, "SGDRegressor": {"random_state": 0},
    "LinearSVR": {"C": 0.01}, "RidgeCV": {}, "Lars": {}, "OrthogonalMatchingPursuit": {},
}  # fmt: skip


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("has_intercept", [True, False])
def test_sklearn_regressor(sklearn, rng, name, has_intercept):
    x, y, *_ = samples(rng)
    made = getattr(sklearn, name)(fit_intercept=has_intercept, **REGRESSORS[name])
    x = (x - x.mean(axis=0)) / x.std(axis=0) + 0.1
    compare(made.fit(x, y), "predict", x)


@pytest.mark.parametrize(
    "name", ["LinearRegression", "Ridge", "MultiTaskLasso", "Lasso", "LinearRegression of one"]
)
def test_sklearn_regressor_of_many_numbers(sklearn, rng, name):
    x, _, y, _ = samples(rng)
    name, *of = name.split(" of ")
    compare(getattr(sklearn, name)().fit(x, y[:, :1] if of else y), "predict", x)


CLASSIFIERS = {
    "LogisticRegression": {"max_iter": 1000}, "RidgeClassifier": {}, "LinearSVC": {"C": 0.01},
    "SGDClassifier": {"random_state": 0}, "Perceptron": {},
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_sklearn_classifier(sklearn, rng, name, classes):
    x, *_, labels = samples(rng)
    labels = np.minimum(labels, classes - 1)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    made = getattr(sklearn, name)(**CLASSIFIERS[name]).fit(x, labels)
    compare(made, "decision_function", x)
    if hasattr(made, "sparsify"):
        compare(made.sparsify(), "decision_function", x)


@pytest.mark.parametrize("options", [{}, {"n_components": 1}, {"solver": "eigen"}])
def test_sklearn_discriminants(sklearn, rng, options):
    x, *_, labels = samples(rng)
    made = sklearn.LinearDiscriminantAnalysis(**options).fit(x, labels)
    compare(made, "transform", x)


def test_sklearn_integer_images(sklearn, rng):
    x = rng.integers(0, 4000, (120, 6)).astype(np.uint16)
    compare(sklearn.PCA(3).fit(x), "transform", x)


def test_sklearn_refusals(sklearn, rng):
    x, y, _, labels = samples(rng)
    door = c1x1.Pointwise.from_sklearn
    kinds = [sklearn.PCA, sklearn.TruncatedSVD, sklearn.StandardScaler, sklearn.Ridge]
    for kind in (*kinds, sklearn.LogisticRegression, sklearn.LinearDiscriminantAnalysis):
        with refuses(ValueError, f"{kind.__name__} is not fitted: call its fit first"):
            door(kind())
    # Linear in part only, or not at all.
    for other in (sklearn.PoissonRegressor(), sklearn.FactorAnalysis(), sklearn.SVR(), None):
        with refuses(TypeError, "from_sklearn takes a PCA, IncrementalPCA, TruncatedSVD, Linear"):
            door(other)
    with refuses(ValueError, "solver='lsqr' has no transform: fit with solver='svd'"):
        door(sklearn.LinearDiscriminantAnalysis(solver="lsqr").fit(x, labels))

    class Clipped(sklearn.Ridge):
        def predict(self, x):
            return super().predict(x).clip(0)

    with refuses(TypeError, "Clipped replaces predict, so its coefficients alone do not tell"):
        door(Clipped().fit(x, y))


# ---- folding ---------------------------------------------------------------------------------

# Layout, weights' shape with C_in / groups = 4 and C_out = 6, groups.
SHAPES = [
    (None, (4, 6), 1), (None, (1, 1, 4, 6), 1), ("NHWC", (1, 4, 6), 1), ("HWC", (4, 6), 2),
    ("HWC", (1, 1, 4, 6), 3), ("NCHW", (6, 4), 1), ("CHW", (6, 4, 1, 1), 1), ("CHW", (6, 4, 1), 2),
    ("NCW", (6, 4, 1), 3), (None, (4,), 1), ("CHW", (4,), 1), ("HWC", (1, 1, 4), 1),
    ("NHWC", (1, 1, 4), 1), ("CHW", (4, 1, 1), 1), ("NCHW", (4, 1, 1), 1), (None, (1, 1, 4), 1),
]  # fmt: skip


def along(values, ndim, axis):
    """Values per channel, to broadcast over an image."""
    values = np.asarray(values)
    if axis is None or values.ndim == 0:
        return values.reshape(())
    return values.reshape([-1 if a == axis else 1 for a in range(ndim)])


def image_for(rng, layout, channels, dtype):
    layout = layout or "HWC"
    shape = [channels if letter == "C" else 3 for letter in layout]
    return rng.standard_normal(shape).astype(dtype), layout.index("C")


@pytest.mark.parametrize("case", SHAPES, ids=str)
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("is_scalar", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fold_batchnorm(rng, case, has_bias, is_scalar, dtype):
    layout, shape, groups = case
    c_out = 6 if 6 in shape else 1
    size = () if is_scalar else c_out
    gamma, beta, mean = rng.standard_normal((3, *([] if is_scalar else [c_out])))
    var = rng.random(size) + 0.1
    w = rng.standard_normal(shape).astype(dtype)
    bias = rng.standard_normal(c_out).astype(dtype) if has_bias else None
    layer = c1x1.Pointwise(w, bias, layout=layout, groups=groups)
    x, axis = image_for(rng, layout, 4 * groups, dtype)
    y = layer(x).astype(np.float64)
    axis = None if w.ndim == 1 else axis
    a, b, m, v = (along(p, x.ndim, axis) for p in (gamma, beta, mean, var))
    folded = revived(layer.fold_batchnorm(gamma, beta, mean, var, 1e-3))
    assert (folded.layout, folded.groups, folded.weight.shape) == (layout, groups, shape)
    assert_close(folded(x), (a * (y - m) / np.sqrt(v + 1e-3) + b), dtype)


@pytest.mark.parametrize("case", SHAPES, ids=str)
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fold_normalization(rng, case, has_bias, dtype):
    layout, shape, groups = case
    c_out = 6 if 6 in shape else 1
    mean, std = rng.standard_normal(4 * groups), rng.random(4 * groups) + 0.1
    w = rng.standard_normal(shape).astype(dtype)
    bias = rng.standard_normal(c_out).astype(dtype) if has_bias else None
    layer = c1x1.Pointwise(w, bias, layout=layout, groups=groups)
    x, axis = image_for(rng, layout, 4 * groups, dtype)
    for m, s in itertools.product((mean, 0.3), (std, 2.0)):
        if np.ndim(m) == np.ndim(s) == 0 and shape in ((1, 1, 4), (4, 1, 1)):
            continue
        folded = revived(layer.fold_normalization(m, s))
        plain = ((x - along(m, x.ndim, axis)) / along(s, x.ndim, axis)).astype(dtype)
        assert (folded.layout, folded.groups, folded.weight.shape) == (layout, groups, shape)
        assert_close(folded(x), layer(plain), dtype)


def test_folding_a_matrix_of_one_channel_or_one_filter():
    """What w is, the number of means tells, or else the layer's bias."""
    w = np.arange(1.0, 7.0).reshape(1, 1, 6)
    one, six = np.full((2, 2, 1), 5.0), np.full((2, 2, 6), 5.0)
    layer = c1x1.Pointwise(w)
    matrix = layer.fold_normalization([1.0], 2.0)
    np.testing.assert_array_equal(matrix(one), layer((one - 1) / 2))
    single = layer.fold_normalization(np.full(6, 1.0), 2.0)
    np.testing.assert_array_equal(single(six), layer((six - 1) / 2))
    with refuses(ValueError, "w of shape (1, 1, 6) may be one filter or 6 of them: pass mean with"):
        layer.fold_normalization(1.0, 2.0)
    # In an image of three axes, w of two is no filter.
    layer = c1x1.Pointwise(w[0], layout="HWC")
    np.testing.assert_array_equal(layer.fold_normalization(1.0, 2.0)(one), layer((one - 1) / 2))
    layer = c1x1.Pointwise(w, np.arange(6.0))
    np.testing.assert_array_equal(layer.fold_normalization(1.0, 2.0)(one), layer((one - 1) / 2))


def test_folding_keeps_dtype_and_stride(rng):
    made = type("Conv2d", (), {"__module__": "torch.nn.modules.conv"})()
    vars(made).update(
        weight=rng.standard_normal((4, 3, 1, 1)), bias=None, kernel_size=(1, 1), padding=(0, 0),
        stride=(2, 3), groups=1,
    )  # fmt: skip
    layer = revived(c1x1.Pointwise.from_torch(made))
    assert layer.stride == (2, 3)
    assert layer.fold_normalization(0.0, 1.0).stride == (2, 3)
    assert layer.fold_batchnorm(None, None, 0.0, 1.0, 0.0).stride == (2, 3)
    layer = c1x1.Pointwise(np.ones((3, 4), np.float16), dtype=np.float64)
    folded = layer.fold_normalization([1, 2, 3], 1)
    assert (folded.dtype, folded.weight.dtype, folded.bias.dtype) == ("f8", "f2", "f4")
    layer = c1x1.Pointwise(np.ones((3, 4), np.int8), np.arange(4))
    folded = layer.fold_normalization([1, 2, 3], 2)
    assert (folded.weight.dtype, folded.bias.dtype) == ("f4", "f4")
    np.testing.assert_array_equal(folded(np.array([3, 3, 3], np.uint8)), 1.5 + np.arange(4))


def test_folding_is_done_in_float64(rng):
    w = rng.standard_normal((3, 4)).astype(np.float32)
    mean, std = rng.standard_normal(3) * 1e4, rng.random(3) + 0.1
    folded = c1x1.Pointwise(w).fold_normalization(mean, std)
    exact = w.astype(np.float64) / std[:, None]
    np.testing.assert_array_equal(folded.weight, exact.astype(np.float32))
    want = -(mean[:, None] * exact).sum(axis=0)
    np.testing.assert_allclose(folded.bias, want, rtol=2**-24)


def test_batchnorm_of_torch(torch, rng):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 1, stride=2), torch.nn.BatchNorm2d(5)).eval()
    conv, norm = model
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    layer = c1x1.Pointwise.from_torch(conv).fold_batchnorm(
        norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps
    )
    x = rng.standard_normal((2, 3, 7, 6)).astype(np.float32)
    assert_close(layer(x), model(torch.from_numpy(x)).detach().numpy())


def test_scaler_folded_into_a_regressor(sklearn, rng):
    x, y, *_ = samples(rng)
    scaler = sklearn.StandardScaler().fit(x)
    made = sklearn.Ridge().fit(scaler.transform(x), y)
    layer = c1x1.Pointwise.from_sklearn(made).fold_normalization(scaler.mean_, scaler.scale_)
    assert_close(layer(x), made.predict(scaler.transform(x)))


def test_folding_refusals():
    layer = c1x1.Pointwise(np.ones((3, 4), np.float32))
    batchnorm, normalization = layer.fold_batchnorm, layer.fold_normalization
    with refuses(ValueError, "gamma has shape (3,); expected (4,), one value per output channel"):
        batchnorm(np.ones(3), None, 0.0, 1.0, 0.0)
    with refuses(ValueError, "mean has shape (1, 4); expected one value per channel, or a scalar"):
        batchnorm(None, None, np.ones((1, 4)), 1.0, 0.0)
    with refuses(ValueError, "var + eps must be positive; the least is 0.0"):
        batchnorm(None, None, 0.0, [1, 1, 0, 1], 0.0)
    with refuses(TypeError, "beta has dtype <U1; expected real numbers"):
        batchnorm(None, "a", 0.0, 1.0, 0.0)
    with refuses(ValueError, "mean has shape (4,); expected (3,), one value per input channel"):
        normalization(np.ones(4), 1.0)
    with refuses(ValueError, "std has a zero: pass 1 for a channel that does not vary"):
        normalization(0.0, [1, 0, 1])
    with refuses(ValueError, "expected (4,) or (1,), one value per output channel"):
        c1x1.Pointwise(np.ones((1, 1, 4))).fold_batchnorm(np.ones(3), None, 0.0, 1.0, 0.0)
    with refuses(ValueError, "w of shape (3, 3, 2, 2) holds no 1x1 filters"):
        c1x1.Pointwise(np.ones((3, 3, 2, 2))).fold_normalization(0.0, 1.0)
    with refuses(ValueError, "the layer rounds its results to int8, and that comes before"):
        c1x1.Pointwise(np.ones((3, 4)), dtype=np.int8).fold_batchnorm(1, 0, 0, 1, 0)


def test_folding_beside_an_epilogue(rng):
    w, x = rng.standard_normal((3, 4)), rng.standard_normal((5, 3))
    bias, scale = rng.standard_normal(4), rng.random(4) + 0.5
    mean, std = rng.standard_normal(3), rng.random(3) + 0.5
    layer = c1x1.Pointwise(w, bias, scale=scale, activation="relu")
    folded = revived(layer.fold_normalization(mean, std))
    assert_close(folded(x), layer((x - mean) / std))
    with refuses(ValueError, "the layer's activation 'relu' comes before the batch normalization"):
        layer.fold_batchnorm(1, 0, 0, 1, 0)
    layer = c1x1.Pointwise(w, bias, scale=scale)
    gamma, beta, m = rng.standard_normal((3, 4))
    v = rng.random(4)
    folded = revived(layer.fold_batchnorm(gamma, beta, m, v, 0.1))
    assert_close(folded(x), gamma * (layer(x) - m) / np.sqrt(v + 0.1) + beta)
    table = c1x1.Pointwise(w.astype(np.float32), lut=np.linspace(0, 1, 256, dtype=np.float32))
    with refuses(ValueError, "normalize the table, lut=(lut - mean) / std"):
        table.fold_normalization(mean, std)
    with refuses(ValueError, "quantize a layer without lut"):
        table.quantize(0.1, 0)


# ---- quantization ----------------------------------------------------------------------------


def stand_in(w, bias=None, **more):
    """What quantize reads of a layer, also of one that cannot be made yet."""
    given = {"layout": None, "groups": 1, "dtype": None, "stride": 1}
    return SimpleNamespace(weight=w, bias=bias, **given | more)


def by_hand(made, x_q):
    """A quantized layer's arguments, applied in float64 to channels-last pixels."""
    w, groups = made["w"].astype(np.int64), made["groups"]
    width, count = w.shape[-2], w.shape[-1] // groups
    w = w.reshape(w.shape[-2:])
    parts = [
        x_q[..., g * width : (g + 1) * width].astype(np.int64) @ w[:, g * count : (g + 1) * count]
        for g in range(groups)
    ]
    y = np.concatenate(parts, axis=-1) * made["scale"].astype(np.float64) + made["bias"]
    activation = made.get("activation")
    if activation is not None and activation[0] == "clip":
        y = y.clip(*activation[1:])
    elif activation is not None:
        kind, slope = ("leaky_relu", 0.0) if activation == "relu" else activation
        assert kind == "leaky_relu"
        y = np.where(y > 0, y, slope * y)
    if made["dtype"].kind == "f":
        return y
    info = np.iinfo(made["dtype"])
    return np.rint(y).clip(info.min, info.max).astype(made["dtype"])


QUANTIZED = [
    {},
    {"w_scale": 0.03},
    {"w_scale": 0.005},
    {"w_scale": np.linspace(0.01, 0.06, 6)},
    {"y_scale": 0.03, "y_zero_point": 7},
    {"y_scale": 0.03, "y_zero_point": 100, "dtype": np.uint8},
]


def quantization(rng, groups=1, x_dtype=np.uint8):
    """Weights, bias, quantized pixels, their scale and zero point, and what they stand for."""
    w = rng.standard_normal((4, 6)).astype(np.float32)
    w[:, 2] = 0
    bias = rng.standard_normal(6).astype(np.float32)
    info = np.iinfo(x_dtype)
    x_q = rng.integers(info.min, info.max + 1, (50, 4 * groups)).astype(x_dtype)
    zero = 3 + (info.min + info.max) // 2
    return w, bias, x_q, 0.02, zero, 0.02 * (x_q.astype(np.float64) - zero)


def quantized_reference(w, bias, x, made, options, groups=1):
    """The layer on real numbers, with weights as they were quantized."""
    step = options.get("w_scale", np.where(abs(w).max(axis=0) == 0, 1, abs(w).max(axis=0) / 127))
    rounded = made["w"].astype(np.float64).reshape(w.shape) * step
    assert made["w"].min() >= -127
    assert np.abs(rounded - np.clip(w, -127 * step, 127 * step)).max() <= np.max(step) / 2 + 1e-7
    count = 6 // groups
    parts = [
        x[:, g * 4 : (g + 1) * 4] @ rounded[:, g * count : (g + 1) * count] for g in range(groups)
    ]
    return np.concatenate(parts, axis=1) + bias


@pytest.mark.parametrize("options", QUANTIZED, ids=str)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("x_dtype", [np.uint8, np.int8])
def test_quantized_arguments(rng, options, groups, x_dtype):
    w, bias, x_q, x_scale, zero, x = quantization(rng, groups, x_dtype)
    rest = {"w_scale": None, "y_scale": None, "y_zero_point": 0, "dtype": np.int8} | options
    made = _folding.quantize(stand_in(w, bias, groups=groups), x_scale, zero, **rest)
    assert (made["w"].dtype, made["scale"].dtype, made["bias"].dtype) == ("i1", "f4", "f4")
    want = quantized_reference(w, bias, x, made, options, groups)
    got = by_hand(made, x_q)
    if "y_scale" not in options:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
        return
    # One step, where float32 scales turn a half the other way.
    info = np.iinfo(rest["dtype"])
    q = np.rint(want / rest["y_scale"] + rest["y_zero_point"]).clip(info.min, info.max)
    assert got.dtype == rest["dtype"]
    assert np.abs(got - q).max() <= 1
    assert (got != q).mean() < 0.02
    assert {info.min, info.max} & set(got.ravel().tolist())


@pytest.mark.parametrize(
    "activation", ["relu", "relu6", ("clip", -1.0, 2.0), ("leaky_relu", 0.25)], ids=str
)
def test_quantized_activation(rng, activation):
    w, bias, x_q, x_scale, zero, x = quantization(rng)
    layer = stand_in(w, bias, activation=activation)
    y_zero = 0 if activation[0] == "leaky_relu" else -20
    made = _folding.quantize(layer, x_scale, zero, None, 0.1, y_zero, np.int8)
    real = quantized_reference(w, bias, x, made, {})
    if activation[0] == "leaky_relu":
        real = np.where(real > 0, real, 0.25 * real)
    else:
        low, high = {"relu": (0, np.inf), "relu6": (0, 6)}.get(activation, activation[1:])
        real = real.clip(low, high)
    q = np.rint(real / 0.1 + y_zero).clip(-128, 127)
    got = by_hand(made, x_q)
    assert np.abs(got - q).max() <= 1
    assert (got != q).mean() < 0.02
    # Without y_scale it acts on the real numbers, as it was.
    made = _folding.quantize(layer, x_scale, zero, None, None, 0, np.int8)
    assert (made["activation"], made["dtype"]) == (activation, np.float32)


def test_quantized_scale_is_folded_into_the_weights(rng):
    w, bias, *_ = quantization(rng)
    scale = rng.random(6) + 0.5
    rest = (0.1, 3, None, 0.1, 0, np.int8)
    made = _folding.quantize(stand_in(w.astype(np.float64), bias, scale=scale), *rest)
    want = _folding.quantize(stand_in(w * scale, bias), *rest)
    for name in ("w", "scale", "bias"):
        np.testing.assert_array_equal(made[name], want[name])


@pytest.mark.parametrize("options", QUANTIZED, ids=str)
@pytest.mark.parametrize("layout", ["WC", "CW"])
def test_quantize(rng, options, layout):
    w, bias, x_q, x_scale, zero, _ = quantization(rng)
    layer = c1x1.Pointwise(w if layout == "WC" else w.T, bias, layout=layout)
    made = revived(layer.quantize(x_scale, zero, **options))
    assert made.weight.dtype == np.int8
    assert made.dtype == (options.get("dtype", np.int8) if "y_scale" in options else np.float32)
    arguments = {"w": made.weight if layout == "WC" else made.weight.T, "groups": 1}
    arguments |= {"scale": made.scale, "bias": made.bias, "dtype": made.dtype}
    want = by_hand(arguments, x_q)
    got = made(x_q) if layout == "WC" else made(np.ascontiguousarray(x_q.T)).T
    assert got.dtype == made.dtype
    if made.dtype == np.float32:
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-5)
    else:
        assert np.abs(got.astype(int) - want).max() <= 1
        assert (got != want).mean() < 0.02


def test_quantize_refusals():
    layer = c1x1.Pointwise(np.ones((3, 4), np.float32))
    q = layer.quantize
    with refuses(TypeError, "w has dtype int8: it is quantized already"):
        c1x1.Pointwise(np.ones((3, 4), np.int8)).quantize(0.1, 0)
    for step in (0.0, -1.0, np.nan, np.inf):
        with refuses(ValueError, "x_scale must be positive and finite"):
            q(step, 0)
    with refuses(ValueError, "x_scale has shape (3,); expected a scalar"):
        q(np.ones(3), 0)
    with refuses(ValueError, "x_zero_point is 0.5; expected an integer that int8 or uint8 holds"):
        q(0.1, 0.5)
    with refuses(ValueError, "w_scale has shape (3,); expected (4,), one value per output channel"):
        q(0.1, 0, np.ones(3))
    with refuses(ValueError, "y_scale must be positive and finite"):
        q(0.1, 0, y_scale=0)
    with refuses(ValueError, "y_zero_point is 128; expected an integer that int8 holds"):
        q(0.1, 0, y_scale=0.1, y_zero_point=128)
    with refuses(ValueError, "y_zero_point needs y_scale"):
        q(0.1, 0, y_zero_point=1)
    with refuses(TypeError, "dtype is float32; expected integers, or no y_scale for float32"):
        q(0.1, 0, y_scale=0.1, dtype=np.float32)
    with refuses(ValueError, "may be one filter or 4 of them: pass w_scale with one value per"):
        c1x1.Pointwise(np.ones((1, 1, 4))).quantize(0.1, 0)
    for activation in ("tanh", ("leaky_relu", 0.1)):
        with refuses(ValueError, "acts on real numbers, not on quantized ones: leave y_scale out"):
            _folding.quantize(
                stand_in(layer.weight, activation=activation), 0.1, 0, None, 0.1, 5, np.int8
            )


# ---- the doors themselves --------------------------------------------------------------------


def test_no_framework_is_imported():
    """Objects are known by the names of their classes; what they hold may be NumPy's."""
    code = """
        import sys
        import numpy as np, c1x1

        def like(name, module, **values):
            made = type(name, (), {"__module__": module})()
            vars(made).update(values)
            return made

        layers = [
            c1x1.Pointwise.from_torch(
                like("Linear", "torch.nn.modules.linear", weight=np.ones((2, 3)), bias=None)
            ),
            c1x1.Pointwise.from_keras(
                like("Dense", "keras.src.layers.core.dense", kernel=np.ones((3, 2)),
                     activation=None, use_bias=False)
            ),
            c1x1.Pointwise.from_sklearn(
                type("Ridge", (type("LinearModel", (), {"__module__": "sklearn.x",
                     "predict": None}),), {"coef_": np.ones((2, 3)), "intercept_": np.zeros(2)})()
            ),
        ]
        for layer in layers:
            assert (layer(np.ones((4, 3))) == 3).all()
        names = {"torch", "keras", "sklearn", "onnx", "scipy", "tensorflow", "jax"}
        assert not names & set(sys.modules), names & set(sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_subclass_gets_layers_of_its_own(torch):
    class Mine(c1x1.Pointwise):
        pass

    layer = Mine.from_torch(torch.nn.Linear(3, 4))
    assert type(layer) is Mine
    assert type(layer.fold_normalization(0.0, 1.0)) is Mine
