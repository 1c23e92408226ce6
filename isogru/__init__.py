"""isogru: are two GRUs the same function? The referee: verdicts without tolerances that somebody typed in.

import isogru
verdict = isogru.check(my_gru, cell="gru_reset_after")      # my_gru(X, H0, parameters) -> H, NumPy to NumPy
print(verdict.sentence)
isogru.assert_equal(my_gru, cell="gru_reset_after")         # the same for a test
print(isogru.explain(case, H).sentence)                     # why the states H (T, n, h) of a case are not equal
"""

from __future__ import annotations

from isogru.checking import CaseVerdict, Verdict, assert_equal, check
from isogru.explain import Explanation, explain

__all__ = ["CaseVerdict", "Explanation", "Verdict", "assert_equal", "check", "explain"]
