"""Compiles the kernels for an H100, on a machine that needs none. Not in the process of the tests, whose kernels are
interpreted.
"""

from __future__ import annotations

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from frameworks.torch import kernels, narrow, strips, wide

H100 = GPUTarget("cuda", 90, 32)
POINTERS = {"tokens": "*i64", "labels": "*i64", "counters": "*i32"}
NUMBERS = ("T", "n", "h", "v", "N", "programs", "times", "of_step", "of_row")


def binary(kernel, constants: dict[str, int]) -> bytes:
    """The program of a kernel, its numbers being constants."""
    options = {"num_warps": constants.pop("num_warps")}
    kinds = {name: "i32" if name in NUMBERS else POINTERS.get(name, "*fp32") for name in kernel.arg_names}
    signature = kinds | dict.fromkeys(constants, "constexpr")
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
    constants = kernels.strip_constants(28, 32)
    assert binary(strips.cross_entropy, {**constants})
    for reset_after in (False, True):
        assert binary(strips.gradients, {**constants, "RESET_AFTER": reset_after})
    print("compiled 13 kernels")


if __name__ == "__main__":
    main()
