"""A plugin of tox: environments that run a command in another one do so by the tox that runs them."""

from __future__ import annotations

import os
import sys
from typing import Any

from tox.plugin import impl


@impl
def tox_add_core_config(core_conf: Any, state: Any) -> None:
    """Name the Python of this tox, which tox.ini calls {env:TOX_PYTHON}: twenty environments need no copy of it."""
    os.environ["TOX_PYTHON"] = sys.executable
