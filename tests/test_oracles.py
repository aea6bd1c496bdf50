"""Against implementations by others: PyTorch, ONNX Runtime, ONNX's reference and its backend cases,
OpenCV, NumPy's own matvec and tensordot. What is not installed is skipped by name.

Whole numbers are compared exactly; real ones within the rounding that theory allows both sides.
"""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import numpy as np
import pytest
import reference
from frameworks import need

import c1x1

SHAPES = [(1, 1, 5), (3, 3, 30), (12, 4, 17), (16, 1, 40), (64, 48, 25), (192, 1, 28), (200, 33, 9)]


def bound(x, w, eps=reference.EPS["float32"]):
    """Of the difference of two sums, each within (K + 2) eps of the exact one."""
    magnitude = np.tensordot(np.abs(x).astype(np.float64), np.abs(w).astype(np.float64), 1)
    return 2 * (w.shape[0] + 2) * eps * magnitude + np.finfo(np.float32).tiny


def assert_close(got, want, limit):
    assert got.shape == want.shape
    worst = np.max(np.abs(np.asarray(got, np.float64) - want) - limit, initial=-np.inf)
    assert worst <= 0, worst


# ---- NumPy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("c_in", "c_out", "size"), SHAPES)
def test_numpy(c_in, c_out, size, rng):
    x = rng.standard_normal((size, size, c_in)).astype(np.float32)
    w = rng.standard_normal((c_in, c_out)).astype(np.float32)
    y = c1x1.conv(x, w)
    assert_close(y, np.tensordot(x, w, 1), bound(x, w))
    assert_close(y, np.einsum("hwc,co->hwo", x, w), bound(x, w))
    if hasattr(np, "matvec"):  # NumPy 2.2
        assert_close(y, np.matvec(np.ascontiguousarray(w.T), x), bound(x, w))
        assert_close(y, np.vecmat(x, w), bound(x, w))
    whole = rng.integers(-9, 10, x.shape), rng.integers(-9, 10, w.shape)
    np.testing.assert_array_equal(c1x1.conv(*whole), np.tensordot(*whole, 1))


# ---- PyTorch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize(("c_in", "c_out", "size"), SHAPES)
def test_torch_conv2d_and_its_gradients(c_in, c_out, size, stride, groups, rng):
    torch = need("torch")
    c_in, c_out = c_in * groups, c_out * groups
    # Whole numbers: any order of summation gives the same.
    x, w, bias = (
        rng.integers(-3, 4, shape).astype(np.float32)
        for shape in ((2, c_in, size, size), (c_out, c_in // groups, 1, 1), (c_out,))
    )
    tensors = [torch.from_numpy(a.copy()).requires_grad_() for a in (x, w, bias)]
    y = torch.nn.functional.conv2d(*tensors, stride=stride, groups=groups)
    options = {"layout": "NCHW", "stride": stride, "groups": groups}
    np.testing.assert_array_equal(c1x1.conv(x, w, bias, **options), y.detach().numpy())
    grad = rng.integers(-2, 3, tuple(y.shape)).astype(np.float32)
    y.backward(torch.from_numpy(grad))
    for ours, theirs in zip(c1x1.conv_vjp(x, w, grad, **options), tensors, strict=True):
        np.testing.assert_array_equal(ours, theirs.grad.numpy())


ACTIVATIONS = {
    "relu": "relu", "relu6": "relu6", "sigmoid": "sigmoid", "tanh": "tanh", "silu": "silu",
    "hardswish": "hardswish", "hardsigmoid": "hardsigmoid", "gelu": "gelu", "elu": "elu",
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_torch_activations(name, rng):
    """In float64, where both are within some ulp of the formula."""
    torch = need("torch")
    x, w = rng.standard_normal((50, 40, 6)), rng.standard_normal((6, 5))
    linear = torch.from_numpy(x) @ torch.from_numpy(w)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = getattr(torch.nn.functional, ACTIVATIONS[name])(linear).numpy()
    # The sums differ by their rounding, which no activation multiplies by more than 1.2.
    limit = 1.2 * bound(x, w, reference.EPS["float64"]) + 16 * reference.EPS["float64"]
    assert_close(c1x1.conv(x, w, activation=name), want, limit * (1 + np.abs(want)))


# ---- OpenCV --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 3), (4, 4), (3, 1), (2, 4), (4, 3)])
def test_opencv_transform(c_in, c_out, dtype, rng):
    cv2 = need("cv2")
    x = rng.integers(-50, 50, (61, 47, c_in)).astype(dtype)
    m = rng.integers(-9, 9, (c_out, c_in)).astype(dtype)
    want = cv2.transform(x, m).reshape(61, 47, c_out)
    np.testing.assert_array_equal(c1x1.conv(x, np.ascontiguousarray(m.T)), want)


# ---- ONNX ----------------------------------------------------------------------------------------


def pointwise_model(onnx, c_in, c_out, size, groups, dtype):
    """A graph of one Conv with a 1x1 kernel, a bias and stride 1."""
    helper = onnx.helper
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shapes = {"x": (1, c_in, size, size), "w": (c_out, c_in // groups, 1, 1), "b": (c_out,)}
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], group=groups)
    inputs = [helper.make_tensor_value_info(n, kind, s) for n, s in shapes.items()]
    output = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([node], "pointwise", inputs, [output])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ), shapes


@pytest.mark.parametrize("engine", ["onnxruntime", "onnx.reference"])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("c_in", "c_out", "size"), SHAPES)
def test_onnx_conv(c_in, c_out, size, groups, engine, rng):
    onnx = need("onnx")
    runtime = need(engine)
    model, shapes = pointwise_model(onnx, c_in * groups, c_out * groups, size, groups, np.float32)
    values = {n: rng.integers(-3, 4, s).astype(np.float32) for n, s in shapes.items()}
    if engine == "onnxruntime":
        session = runtime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
    else:
        session = runtime.ReferenceEvaluator(model)
    want = session.run(None, values)[0]
    got = c1x1.conv(values["x"], values["w"], values["b"], layout="NCHW", groups=groups)
    np.testing.assert_array_equal(got, want)


@functools.cache
def backend_cases():
    """The ONNX backend's node cases by name; made anew by onnx, which warns of its own casts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        return {case.name: case for case in load_model_tests(kind="node")}


CASES = [
    "test_qlinearconv", "test_matmul_2d", "test_matmul_3d", "test_matmul_4d",
    "test_matmulinteger", "test_gemm_all_attributes", "test_gemm_alpha", "test_gemm_beta",
    "test_gemm_default_matrix_bias", "test_gemm_default_no_bias", "test_gemm_default_scalar_bias",
    "test_gemm_default_single_elem_vector_bias", "test_gemm_default_vector_bias",
    "test_gemm_default_zero_bias", "test_gemm_transposeA", "test_gemm_transposeB",
    "test_einsum_batch_matmul",
]  # fmt: skip


def read_case(onnx, case):
    """The node, its inputs by name, and the wanted output."""
    if case.model_dir is None:  # onnx 1.23 makes them as it goes
        inputs, outputs = case.data_sets[0]
        given, wanted = (
            [
                onnx.numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else np.asarray(a)
                for a in part
            ]
            for part in (inputs, outputs)
        )
        return case.model.graph.node[0], given, wanted
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    arrays = []
    for pattern in ("input_*.pb", "output_*.pb"):
        found = sorted((folder / "test_data_set_0").glob(pattern))
        tensors = []
        for path in found:
            tensor = onnx.TensorProto()
            tensor.ParseFromString(path.read_bytes())
            tensors.append(onnx.numpy_helper.to_array(tensor))
        arrays.append(tensors)
    return model.graph.node[0], *arrays


def computed(onnx, node, given):
    """The case by c1x1: a product of a matrix with pixels of its rows."""
    options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "QLinearConv":
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = given[:8]
        # Exact sums of what the zero points leave, then the scales, rounded once.
        sums = c1x1.conv(x.astype(np.int32) - int(x_zero), w.astype(np.int32) - int(w_zero.item()),
                         layout="NCHW")  # fmt: skip
        ratio = float(x_scale) * float(w_scale.item()) / float(y_scale)
        return c1x1.conv(
            sums, np.eye(sums.shape[1], dtype=np.int64), np.int64(y_zero),
            layout="NCHW", scale=ratio, dtype=np.uint8,
        )  # fmt: skip
    if node.op_type == "MatMulInteger":
        a, b, a_zero, b_zero = (g.astype(np.int32) for g in given)
        return c1x1.conv(a - a_zero, b - b_zero).astype(np.int32)
    if node.op_type == "Gemm":
        a, b = given[:2]
        a = a.T if options.get("transA") else a
        b = b.T if options.get("transB") else b
        bias = given[2] * np.float32(options.get("beta", 1.0)) if len(given) > 2 else None
        return c1x1.conv(a, b, scale=options.get("alpha", 1.0), residual=bias)
    a, b = given
    if b.ndim == 2:
        return c1x1.conv(a, b)
    # A batch of products, each with weights of its own.
    flat = [c1x1.conv(p, q) for p, q in zip(a.reshape(-1, *a.shape[-2:]),
                                            b.reshape(-1, *b.shape[-2:]), strict=True)]  # fmt: skip
    return np.stack(flat).reshape(*a.shape[:-1], b.shape[-1])


@pytest.mark.parametrize("name", CASES)
def test_onnx_backend_case(name):
    onnx = need("onnx")
    cases = backend_cases()
    if name not in cases:
        pytest.skip(f"onnx {onnx.__version__} has no case {name}")
    node, given, (want,) = read_case(onnx, cases[name])
    got = computed(onnx, node, given)
    assert got.dtype == want.dtype
    if want.dtype.kind in "iu":
        np.testing.assert_array_equal(got, want)
    else:
        # As the backend's own runner compares.
        np.testing.assert_allclose(got, want, rtol=cases[name].rtol, atol=cases[name].atol)


def light_shapes(onnx):
    """(C_out, C_in / groups, groups) of every 1x1 convolution in ONNX's models without weights."""
    found = set()
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    for path in sorted(folder.glob("*.onnx")):
        graph = onnx.load(path).graph
        shapes = {t.name: tuple(t.dims) for t in graph.initializer}
        for value in graph.input:
            dims = value.type.tensor_type.shape.dim
            shapes.setdefault(value.name, tuple(d.dim_value for d in dims))
        for node in graph.node:  # weights are made where they are used
            if node.op_type == "ConstantOfShape" and node.input[0] in shapes:
                made = next(t for t in graph.initializer if t.name == node.input[0])
                shapes[node.output[0]] = tuple(int(n) for n in onnx.numpy_helper.to_array(made))
        for node in graph.node:
            if node.op_type == "Conv" and len(shapes.get(node.input[1], ())) == 4:
                c_out, c_in, *window = shapes[node.input[1]]
                if window == [1, 1]:
                    groups = [a.i for a in node.attribute if a.name == "group"]
                    found.add((c_out, c_in, groups[0] if groups else 1))
    return sorted(found)


def test_onnx_shapes_of_real_networks(rng):
    """Each beside NumPy, on 7x7 pixels of whole numbers."""
    onnx = need("onnx")
    shapes = light_shapes(onnx)
    if not shapes:
        pytest.skip(f"onnx {onnx.__version__} comes without light models")
    for c_out, c_in, groups in shapes:
        x = rng.integers(-4, 5, (1, c_in * groups, 7, 7)).astype(np.float32)
        w = rng.integers(-4, 5, (c_out, c_in, 1, 1)).astype(np.float32)
        parts = zip(np.split(x, groups, axis=1), np.split(w[:, :, 0, 0], groups), strict=True)
        want = np.concatenate([np.einsum("nchw,oc->nohw", a, b) for a, b in parts], axis=1)
        got = c1x1.conv(x, w, layout="NCHW", groups=groups)
        np.testing.assert_array_equal(got, want)
    assert len(shapes) >= 20
