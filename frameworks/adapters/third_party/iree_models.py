"""IREE's compiler and runtime: the ONNX operator GRU, and flax.linen.GRUCell with its gradients, lowered by JAX."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version

import iree.compiler
import iree.runtime
import jax
import numpy as np

from frameworks.adapters import flax as adapter
from frameworks.adapters.onnxruntime import OPSET, made
from frameworks.adapters.third_party import FEW, Arrays, Implementation
from shared_spec.files import temporary

SETTINGS = {"target_backends": ["llvm-cpu"], "extra_args": ["--iree-llvmcpu-target-cpu=host"]}


def versions() -> dict[str, str]:
    names = ("iree-base-compiler", "iree-base-runtime", "jax", "flax", "onnx", "numpy")
    return {name: version(name) for name in names}


def called(program: bytes, given: Sequence[np.ndarray], name: str | None = None) -> list[np.ndarray]:
    """What the only function of a compiled program gives."""
    context = iree.runtime.SystemContext(config=iree.runtime.Config("local-sync"))
    module = iree.runtime.VmModule.copy_buffer(context.instance, program)
    context.add_vm_module(module)
    names = [each for each in module.function_names if "$" not in each and not each.startswith("__")]
    outputs = context.modules[module.name][name or names[0]](*given)
    return [np.asarray(each) for each in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def run_onnx(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    with temporary.folder() as folder:
        file, text = folder / "gru.onnx", folder / "gru.mlir"
        file.write_bytes(made(layout, tensors, X, H0).SerializeToString())
        command = [sys.executable, "-m", "iree.compiler.tools.import_onnx", file, "-o", text]
        subprocess.run([*command, "--opset-version", str(OPSET)], check=True, capture_output=True)
        program = iree.compiler.compile_file(str(text), input_type="onnx", **SETTINGS)
    (Y,) = called(program, [X, H0[None]])
    return Y[:, 0]


def lowered(function: object, given: tuple) -> list[np.ndarray]:
    """A function of JAX, compiled and called by IREE."""
    text = str(jax.jit(function).lower(*given).compiler_ir("stablehlo"))
    program = iree.compiler.compile_str(text, input_type="stablehlo", **SETTINGS)
    return called(program, [np.asarray(each) for each in jax.tree.leaves(given)], "main")


def run(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    layer, tree = adapter.made(layout, tensors, X, H0)
    return lowered(lambda tree, X, H0: adapter.unroll(layer, tree, X, H0), (tree, X, H0))[0]


def gradients(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray, dH: np.ndarray) -> dict[str, np.ndarray]:
    layer, tree = adapter.made(layout, tensors, X, H0)
    leaves = lowered(lambda *given: adapter.pulled(layer, *given), (tree, X, H0, dH))
    structure = jax.tree.structure((tree, X, H0))
    of_tree, of_x, of_start = jax.tree.unflatten(structure, leaves)
    return {**adapter.flatten_dict(of_tree, sep="."), "X": of_x, "H0": of_start}


def implementations() -> list[Implementation]:
    without = "its import of ONNX has none"
    of_onnx = [
        Implementation(
            f"IREE, ONNX GRU, linear_before_reset={number}",
            "iree.compiler.tools.import_onnx, llvm-cpu",
            layout,
            run_onnx,
            without_gradients=without,
            dtypes=("float32", "float64"),
            entries=FEW,
        )
        for number, layout in ((1, "onnx"), (0, "onnx-reset-before"))
    ]
    name, how = "IREE, flax.linen.GRUCell", "StableHLO lowered by jax.jit, llvm-cpu"
    dtypes = ("float32", "float64", "float16", "bfloat16")
    return [*of_onnx, Implementation(name, how, "flax-linen", run, gradients, dtypes=dtypes, entries=FEW)]
