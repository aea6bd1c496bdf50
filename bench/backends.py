"""The peers: one class for each way to compute a 1x1 convolution. A new peer is a new class here.

A backend lives in a process of its own (harness.py), so imports happen in `start`. Buffers that a
peer's interface owns (LiteRT, OpenVINO) are filled beforehand: only its arithmetic is timed, not
the copies into it and out of it, which users of NumPy arrays would pay.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


class Backend:
    """One way to compute; `call` returned by `prepare` is what is timed."""

    name = ""
    package = ""
    #: Layouts that it takes as they lie in memory: "last" is NHWC, "first" NCHW.
    layouts = ("last", "first")
    is_ours = False

    def start(self, threads):
        """Imports, sets the number of threads, and returns the version. May raise ImportError."""
        raise NotImplementedError

    def refuses(self, shape, layout):
        """Why this problem cannot be timed, or None."""
        return None if layout in self.layouts else f"no channels {layout}"

    def prepare(self, x, w, layout):
        """A call without arguments. `w` is (C_in, C_out) for channels last, else (C_out, C_in)."""
        raise NotImplementedError

    def array(self, result):
        """What a call returned, as a NumPy array in the order of the layout."""
        return np.asarray(result)


class _C1x1(Backend):
    package = "c1x1"
    is_ours = True

    def start(self, threads):
        import c1x1

        self.c1x1 = c1x1
        return f"{c1x1.__version__} ({c1x1.info()['isa']})"

    @staticmethod
    def letters(layout):
        return "NCHW" if layout == "first" else "NHWC"


class Conv(_C1x1):
    """c1x1.conv: weights as they lie, arranged anew in each call."""

    name = "conv"

    def prepare(self, x, w, layout):
        conv, letters = self.c1x1.conv, self.letters(layout)
        return lambda: conv(x, w, layout=letters)


class Pointwise(_C1x1):
    """c1x1.Pointwise: weights packed beforehand, as peers with constant weights do."""

    name = "pointwise"

    def prepare(self, x, w, layout):
        layer = self.c1x1.Pointwise(w, layout=self.letters(layout))
        return lambda: layer(x)


class PointwiseOut(_C1x1):
    """The same into an array made once: no new pages from the system in a call."""

    name = "pointwise-out"

    def prepare(self, x, w, layout):
        layer = self.c1x1.Pointwise(w, layout=self.letters(layout))
        out = layer(x)
        return lambda: layer(x, out=out)


class NumPy(Backend):
    """np.matmul on the flattened image, the fastest way NumPy has."""

    name = package = "numpy"

    def start(self, threads):
        # The BLAS read its number of threads from the environment that harness.Peer sets.
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
        return f"{np.__version__} ({blas})"

    def prepare(self, x, w, layout):
        if layout == "first":
            flat = x.reshape(x.shape[0], x.shape[1], -1)
            return lambda: np.matmul(w, flat)
        flat = x.reshape(-1, x.shape[-1])
        return lambda: np.matmul(flat, w)


class _Torch(Backend):
    package = "torch"

    def start(self, threads):
        import torch

        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        # inference_mode belongs to the thread, and this process has no other use for it.
        self.mode = torch.inference_mode()
        self.mode.__enter__()
        self.torch = torch
        return torch.__version__

    def array(self, result):
        return result.numpy()


class TorchConv(_Torch):
    """torch.nn.functional.conv2d (oneDNN) in the memory format that x lies in."""

    name = "torch-conv"

    def prepare(self, x, w, layout):
        torch = self.torch
        conv2d = torch.nn.functional.conv2d
        self.layout = layout
        if layout == "first":
            image = torch.from_numpy(x)
            weights = torch.from_numpy(w)[:, :, None, None].contiguous()
            return lambda: conv2d(image, weights)
        # NHWC memory under NCHW axes is what PyTorch calls channels_last: nothing is copied.
        image = torch.from_numpy(x).permute(0, 3, 1, 2)
        weights = torch.from_numpy(np.ascontiguousarray(w.T))[:, :, None, None]
        weights = weights.contiguous(memory_format=torch.channels_last)
        return lambda: conv2d(image, weights)

    def array(self, result):
        return (result if self.layout == "first" else result.permute(0, 2, 3, 1)).numpy()


class TorchLinear(_Torch):
    """torch.nn.functional.linear; weights lie as nn.Linear keeps them."""

    name = "torch-linear"
    layouts = ("last",)

    def prepare(self, x, w, layout):
        linear = self.torch.nn.functional.linear
        image = self.torch.from_numpy(x)
        weights = self.torch.from_numpy(np.ascontiguousarray(w.T))
        return lambda: linear(image, weights)


class _OnnxRuntime(Backend):
    package = "onnxruntime"

    def start(self, threads):
        import onnx
        import onnxruntime

        self.onnx, self.ort = onnx, onnxruntime
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.options.log_severity_level = 3
        return onnxruntime.__version__

    def bind(self, operator, x, w, out_shape):
        """Runs `operator` from x's memory into an array made once."""
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            [helper.make_node(operator, ["x", "w"], ["y"])],
            "pointwise",
            [helper.make_tensor_value_info("x", kind, x.shape)],
            [helper.make_tensor_value_info("y", kind, out_shape)],
            # Weights as an initializer, so that the runtime may pack them beforehand.
            [self.onnx.numpy_helper.from_array(w, "w")],
        )
        # An old format that every onnxruntime of the last years reads.
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString()
        session = self.ort.InferenceSession(model, self.options, providers=["CPUExecutionProvider"])
        out = np.empty(out_shape, np.float32)
        binding = session.io_binding()
        binding.bind_input("x", "cpu", 0, np.float32, x.shape, x.ctypes.data)
        binding.bind_output("y", "cpu", 0, np.float32, out.shape, out.ctypes.data)

        def call():
            session.run_with_iobinding(binding)
            return out

        # The binding holds addresses only.
        call.keep = x
        return call


class OnnxConv(_OnnxRuntime):
    """ONNX Runtime's Conv, channels first only."""

    name = "ort-conv"
    layouts = ("first",)

    def prepare(self, x, w, layout):
        out_shape = (x.shape[0], w.shape[0], *x.shape[2:])
        return self.bind("Conv", x, np.ascontiguousarray(w[:, :, None, None]), out_shape)


class OnnxMatMul(_OnnxRuntime):
    """ONNX Runtime's MatMul on the flattened image."""

    name = "ort-matmul"
    layouts = ("last",)

    def prepare(self, x, w, layout):
        flat = x.reshape(-1, x.shape[-1])
        return self.bind("MatMul", flat, w, (flat.shape[0], w.shape[1]))


class _OpenVINO(Backend):
    package = "openvino"

    def start(self, threads):
        import openvino
        from openvino import opset8

        self.ov, self.ops = openvino, opset8
        self.core = openvino.Core()
        self.config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Without this it computes in bfloat16 where the CPU can.
            "INFERENCE_PRECISION_HINT": "f32",
            # The other peers are not pinned.
            "ENABLE_CPU_PINNING": False,
        }
        return openvino.__version__.split("-")[0]

    def compiled(self, model, x):
        request = self.core.compile_model(model, "CPU", self.config).create_infer_request()
        request.set_input_tensor(self.ov.Tensor(x, shared_memory=True))
        result = request.get_output_tensor()

        def call():
            request.infer()
            return result

        call.keep = x
        return call

    def array(self, result):
        return result.data


class OpenVINOConv(_OpenVINO):
    """OpenVINO's Convolution; for channels last the layout is declared at its boundary."""

    name = "openvino-conv"

    def prepare(self, x, w, layout):
        ops = self.ops
        rows = np.ascontiguousarray(w if layout == "first" else w.T)
        shape = x.shape if layout == "first" else (x.shape[0], x.shape[3], *x.shape[1:3])
        image = ops.parameter(list(shape), np.float32)
        filters = ops.constant(rows[:, :, None, None])
        conv = ops.convolution(image, filters, [1, 1], [0, 0], [0, 0], [1, 1])
        model = self.ov.Model([conv], [image], "pointwise")
        if layout == "last":
            steps = self.ov.preprocess.PrePostProcessor(model)
            for end in (steps.input(), steps.output()):
                end.tensor().set_layout(self.ov.Layout("NHWC"))
                end.model().set_layout(self.ov.Layout("NCHW"))
            model = steps.build()
        return self.compiled(model, x)


class OpenVINOMatMul(_OpenVINO):
    """OpenVINO's MatMul on the flattened image."""

    name = "openvino-matmul"
    layouts = ("last",)

    def prepare(self, x, w, layout):
        flat = x.reshape(-1, x.shape[-1])
        image = self.ops.parameter(list(flat.shape), np.float32)
        product = self.ops.matmul(image, self.ops.constant(w), False, False)
        return self.compiled(self.ov.Model([product], [image], "pointwise"), flat)


class XNNPACK(Backend):
    """XNNPACK by way of LiteRT: a model of one CONV_2D with constant weights."""

    name = "xnnpack"
    package = "ai_edge_litert"
    layouts = ("last",)

    def start(self, threads):
        from importlib.metadata import version

        import flatbuffers
        from ai_edge_litert import interpreter, schema_py_generated

        self.flatbuffers, self.schema = flatbuffers, schema_py_generated
        self.interpreter, self.threads = interpreter.Interpreter, threads
        return f"ai-edge-litert {version('ai-edge-litert')}"

    def model(self, x_shape, w):
        s = self.schema
        c_in, c_out = w.shape
        weights = np.ascontiguousarray(w.T)

        def buffer(data=None):
            made = s.BufferT()
            if data is not None:
                made.data = np.frombuffer(data.tobytes(), np.uint8)
            return made

        def tensor(name, shape, index):
            made = s.TensorT()
            made.name, made.shape, made.buffer = name, list(shape), index
            made.type = s.TensorType.FLOAT32
            return made

        options = s.Conv2DOptionsT()
        options.padding = s.Padding.VALID
        options.strideW = options.strideH = 1
        options.dilationWFactor = options.dilationHFactor = 1
        operator = s.OperatorT()
        operator.opcodeIndex = 0
        operator.inputs, operator.outputs = [0, 1, 2], [3]
        operator.builtinOptionsType = s.BuiltinOptions.Conv2DOptions
        operator.builtinOptions = options
        graph = s.SubGraphT()
        graph.tensors = [
            tensor("x", x_shape, 0),
            tensor("w", (c_out, 1, 1, c_in), 1),
            tensor("bias", (c_out,), 2),
            tensor("y", (*x_shape[:-1], c_out), 0),
        ]
        graph.inputs, graph.outputs, graph.operators = [0], [3], [operator]
        code = s.OperatorCodeT()
        # The first field is for readers older than the second.
        code.deprecatedBuiltinCode = code.builtinCode = s.BuiltinOperator.CONV_2D
        code.version = 1
        model = s.ModelT()
        model.version = 3
        # Buffer 0 stands for "no constant" in this format.
        model.buffers = [buffer(), buffer(weights), buffer(np.zeros(c_out, np.float32))]
        model.subgraphs, model.operatorCodes = [graph], [code]
        builder = self.flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def prepare(self, x, w, layout):
        interpreter = self.interpreter(
            model_content=self.model(x.shape, w), num_threads=self.threads
        )
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        index = interpreter.get_output_details()[0]["index"]

        def call():
            interpreter.invoke()
            return interpreter, index

        return call

    def array(self, result):
        interpreter, index = result
        return interpreter.get_tensor(index)


class OpenCV(Backend):
    """cv2.transform for colour-like images, where it has SIMD; cv2.gemm for the rest."""

    name = "opencv"
    package = "cv2"

    def start(self, threads):
        import cv2

        cv2.setNumThreads(threads)
        self.cv2 = cv2
        return cv2.__version__

    def refuses(self, shape, layout):
        if layout == "first" and shape[0] > 1:
            return "one image at a time for channels first"
        return None

    def prepare(self, x, w, layout):
        cv2 = self.cv2
        if layout == "first":
            planes = x[0].reshape(x.shape[1], -1)
            return lambda: cv2.gemm(w, planes, 1.0, None, 0.0)
        if max(w.shape) <= 4:
            image = x.reshape(-1, *x.shape[2:])
            matrix = np.ascontiguousarray(w.T)
            return lambda: cv2.transform(image, matrix)
        flat = x.reshape(-1, x.shape[-1])
        return lambda: cv2.gemm(flat, w, 1.0, None, 0.0)


class JAX(Backend):
    """A compiled dot_general (jnp.matmul) with constant weights."""

    name = package = "jax"

    def start(self, threads):
        # XLA has no setting for the size of its pool: it counts the CPUs that it may use when it
        # starts. Its threads are let go afterwards, since the other peers are not pinned either.
        cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        if cpus:
            os.sched_setaffinity(0, sorted(cpus)[:threads])
        if threads == 1:
            flags = os.environ.get("XLA_FLAGS", "")
            os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
        os.environ["JAX_PLATFORMS"] = "cpu"
        import jax

        jax.devices()
        if cpus:
            for thread in Path("/proc/self/task").iterdir():
                os.sched_setaffinity(int(thread.name), cpus)
        self.jax = jax
        return jax.__version__

    def prepare(self, x, w, layout):
        jax, matmul = self.jax, self.jax.numpy.matmul
        if layout == "first":
            image = x.reshape(x.shape[0], x.shape[1], -1)
            compiled = jax.jit(lambda planes: matmul(w, planes))
        else:
            image = x.reshape(-1, x.shape[-1])
            compiled = jax.jit(lambda rows: matmul(rows, w))
        image = jax.device_put(image)
        return lambda: compiled(image).block_until_ready()


BACKENDS = {
    backend.name: backend
    for backend in (
        Conv,
        Pointwise,
        PointwiseOut,
        NumPy,
        TorchConv,
        TorchLinear,
        OnnxConv,
        OnnxMatMul,
        OpenVINOConv,
        OpenVINOMatMul,
        XNNPACK,
        OpenCV,
        JAX,
    )
}


# ---- gradients -----------------------------------------------------------------------------------


def make_gradient(x, w, layout):
    """The gradient with respect to the result; the same in every process."""
    pixels = x.shape[:-1] if layout == "last" else (x.shape[0], *x.shape[2:])
    grad_y = np.random.default_rng(1).standard_normal(
        (*pixels, w.shape[1] if layout == "last" else w.shape[0]), np.float32
    )
    return grad_y if layout == "last" else np.ascontiguousarray(np.moveaxis(grad_y, -1, 1))


class Gradient(Backend):
    """All three gradients; `array` gives (grad_x, grad_w, grad_bias) in the order of the layout."""


class ConvVjp(_C1x1, Gradient):
    """c1x1.conv_vjp."""

    name = "conv-vjp"

    def prepare(self, x, w, layout):
        grad_y, letters = make_gradient(x, w, layout), self.letters(layout)
        conv_vjp = self.c1x1.conv_vjp
        return lambda: conv_vjp(x, w, grad_y, layout=letters)

    def array(self, result):
        return result


class NumPyVjp(NumPy, Gradient):
    """np.matmul and np.sum on the flattened image; channels first, products of images are added."""

    name = "numpy-vjp"

    def prepare(self, x, w, layout):
        grad_y = make_gradient(x, w, layout)
        channels = grad_y.shape[-1] if layout == "last" else grad_y.shape[1]
        if layout == "last":
            flat, g = x.reshape(-1, x.shape[-1]), grad_y.reshape(-1, channels)
            return lambda: ((g @ w.T).reshape(x.shape), flat.T @ g, g.sum(axis=0))
        flat = x.reshape(*x.shape[:2], -1)
        g = grad_y.reshape(len(x), channels, -1)
        return lambda: (
            np.matmul(w.T, g).reshape(x.shape),
            np.matmul(g, flat.transpose(0, 2, 1)).sum(axis=0),
            g.sum(axis=(0, 2)),
        )

    def array(self, result):
        return result


class TorchVjp(_Torch, Gradient):
    """What PyTorch's autograd calls for conv2d: aten.convolution_backward, without the tape."""

    name = "torch-vjp"

    def prepare(self, x, w, layout):
        torch = self.torch
        self.layout = layout
        image, grad_y = torch.from_numpy(x), torch.from_numpy(make_gradient(x, w, layout))
        weights = torch.from_numpy(w if layout == "first" else np.ascontiguousarray(w.T))
        weights = weights[:, :, None, None]
        if layout == "last":
            image, grad_y = image.permute(0, 3, 1, 2), grad_y.permute(0, 3, 1, 2)
            weights = weights.contiguous(memory_format=torch.channels_last)
        backward = torch.ops.aten.convolution_backward
        sizes = ([len(weights)], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True] * 3)
        return lambda: backward(grad_y, image, weights, *sizes)

    def array(self, result):
        grad_x, grad_w, grad_bias = result
        grad_w = grad_w[:, :, 0, 0]
        if self.layout == "last":
            grad_x, grad_w = grad_x.permute(0, 2, 3, 1), grad_w.T
        return grad_x.numpy(), grad_w.numpy(), grad_bias.numpy()


GRADIENTS = {backend.name: backend for backend in (ConvVjp, NumPyVjp, TorchVjp)}
