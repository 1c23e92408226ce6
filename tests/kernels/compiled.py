"""Compiles the kernels for an H100, on a machine that needs none. Not in the process of the tests, whose kernels are
interpreted.
"""

from __future__ import annotations

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from frameworks.torch import few, kernels, narrow, strips, wide

H100 = GPUTarget("cuda", 90, 32)
POINTERS = {"tokens": "*i64", "labels": "*i64", "inputs": "*i64", "counters": "*i32"}
NUMBERS = ("T", "n", "h", "v", "N", "programs", "times", "of_step", "of_row", "of_sums", "count", "blocks")
KINDS = POINTERS | dict.fromkeys(NUMBERS, "i32") | {"lr": "fp32", "clip_norm": "fp32"}


def binary(kernel, constants: dict[str, int]) -> bytes:
    """The program of a kernel, its numbers being constants."""
    options = {"num_warps": constants.pop("num_warps", 4)}
    signature = {name: KINDS.get(name, "*fp32") for name in kernel.arg_names} | dict.fromkeys(constants, "constexpr")
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    return triton.compile(ASTSource(kernel, signature, places), target=H100, options=options).asm["cubin"]


def main() -> None:
    for module, (n, h) in ((narrow, (1024, 32)), (wide, (64, 256))):
        constants = kernels.plan(n, h, processors=132).constants
        for reset_after in (False, True):
            cell = {**constants, "RESET_AFTER": reset_after}
            assert binary(module.forward, {**cell, "OF_TOKENS": reset_after})
            assert binary(module.backward, cell)
        assert binary(module.products, {**constants, "GATES": 3})
    assert binary(strips.cross_entropy, few.strip_constants(28, 32, *few.OF_LOSS))
    for reset_after in (False, True):
        constants = few.strip_constants(28, 32, *few.OF_WEIGHTS)
        assert binary(strips.gradients, {**constants, "RESET_AFTER": reset_after})
    assert binary(strips.prepare, {"BLOCK": few.MANY})
    assert binary(strips.total, {"ROWS": few.ROWS, "BLOCK": few.BLOCK})
    assert binary(strips.update, {"BLOCK": few.MANY, "BLOCKS": 256})
    print("compiled 16 kernels")


if __name__ == "__main__":
    main()
