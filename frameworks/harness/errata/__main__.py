"""python -m frameworks.harness.errata: the errata that run as equations, in NumPy, where no framework is."""

from __future__ import annotations

from frameworks.harness.errata.command import in_numpy
from shared_spec.command import application, main

app = application("The errata of the chapter as equations, each run wrong and right: tox -e errata.")
app.command()(in_numpy)


if __name__ == "__main__":
    main(lambda: app(prog_name="python -m frameworks.harness.errata"))
