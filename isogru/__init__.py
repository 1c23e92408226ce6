"""isogru: are two GRUs the same function? The referee: verdicts without tolerances that somebody typed in.

import isogru
verdict = isogru.check(my_gru, cell="gru_reset_after")      # my_gru(X, H0, parameters) -> H, NumPy to NumPy
print(verdict.sentence)
isogru.check(torch.nn.GRU(5, 4))                            # a module of PyTorch, Keras, Flax or Equinox, as it is
isogru.assert_equal(my_gru, cell="gru_reset_after")         # the same for a test
print(isogru.explain(case, H).sentence)                     # why the states H (T, n, h) of a case are not equal
print(isogru.same("torch.pt", keras_layer).sentence)        # do two files or modules hold the same weights?
isogru.convert("torch.pt", "keras.npz", to="keras")         # weights from one to another
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from shared_spec import processes

if TYPE_CHECKING:
    from isogru.checking import CaseVerdict, Verdict, assert_equal, check
    from isogru.explain import Explanation, explain
    from isogru.models.face import convert, same

processes.begin("isogru")

__all__ = ["CaseVerdict", "Explanation", "Verdict", "assert_equal", "check", "convert", "explain", "same"]

# Each is loaded when it is asked for: the plugin of pytest, which every test session of an environment imports, stands
# in this package.
_FROM = {
    **dict.fromkeys(("CaseVerdict", "Verdict", "assert_equal", "check"), "isogru.checking"),
    **dict.fromkeys(("Explanation", "explain"), "isogru.explain"),
    **dict.fromkeys(("convert", "same"), "isogru.models.face"),
}


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module 'isogru' has no attribute {name!r}")
    member = getattr(importlib.import_module(_FROM[name]), name)
    globals()[name] = member
    return member


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Face(ModuleType):
    """This package. Importing a module within binds it here under its own name; explain is the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _FROM and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
