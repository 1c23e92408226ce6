"""What the pack says of itself."""

from __future__ import annotations

PAGE = """# Golden cases for GRUs

Small GRU problems with their states, their gradients and how far from them rounding may lead: the fewest that tell
every wrong GRU of a list from a right one. Nothing here needs the program that made it.

`pack.json` has the `equations` of each cell in the names that follow; the `cases` with their sizes, how many wrong GRUs
each tells, and which no other does; and `files` with the SHA-256 of each.

## NAME.safetensors and NAME.npz hold the same arrays

| array | shape | what |
|---|---|---|
| `X`, `H0` | (T, n, d), (n, h) | inputs of n sequences, time first; the start state |
| `W_xz`, `W_hz`, `b_z`, ... | (d, h), (h, h), (h,) | weights, used as `X @ W_xz` |
| `dH` | (T, n, h) | cotangents: gradients are those of `sum(dH * H)` |
| `expected.H`, `expected.grad.X`, ... | | states after each step, and gradients, float64 |
| `bound.float32.H`, `bound.float64.grad.X`, ... | | how far each element may be off in that precision |

What is given is float32, and exact in float64. A GRU is right where

    |result - expected| <= bound

holds for every element, computed in float64. Compute in float32 and take `bound.float32`, or in float64 and take
`bound.float64`. A bound is ten times what right results with simulated rounding errors deviate; in the worst case
rounding can explain a hundred times as much.

## onnx/NAME is one of ONNX' backend tests

`model.onnx` is one GRU node; `test_data_set_0` has its inputs and outputs, and beside them `bound_0.pb`, `bound_1.pb`:
|Y - output_0| <= bound_0, in float32. ONNX' own runner takes an rtol of 1e-3, and sees neither these nor gradients.
"""
