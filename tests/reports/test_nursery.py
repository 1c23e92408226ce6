"""Contenders end with whoever runs the race and with who has forked them: by the kernel, and where that has nothing for
it, as if this were such a system, by themselves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from frameworks.harness.child import ROOT
from tests.processes import all_stopped, descendants, gone

FORKS = """
import os, socket, sys, time
sys.platform = {platform!r}
from frameworks.harness import nursery
from shared_spec import processes
processes.end_with_parent()
def run(arguments):
    reads, writes, _ = map(int, arguments[-1].split(","))
    os.write(writes, b'{{"line": "ready"}}\\n')
    os.read(reads, 1)
    time.sleep(600)
nursery.serve(socket.socket(fileno=int(sys.argv[-1])), run)
"""
RUNS = """
import os, sys, time
from pathlib import Path
from frameworks.harness.contender import Contender
from frameworks.harness.nursery import Nursery, Order
from tests.processes import all_stopped
nursery = Nursery([sys.executable, "-c", {forks!r}], os.environ, limit=60)
nursery.await_import()
contenders = [Contender(name, None, nursery, Order([], {{}}, 1), file=Path(name)) for name in ("waits", "runs")]
for each in contenders:
    each.await_ready(60)
while not all(all_stopped(each.pid) for each in contenders):
    time.sleep(0.01)
print(nursery.session, *(each.pid for each in contenders), flush=True)
contenders[-1].turn(600)
"""


@pytest.mark.parametrize("platform", [sys.platform, "elsewhere"])
@pytest.mark.parametrize("both", [False, True], ids=["who runs it", "who has forked them too"])
def test_contenders_end_with_what_started_them(platform, both):
    """One that is stopped until its turn comes, and one that never comes back from its own."""
    script = RUNS.format(forks=FORKS.format(platform=platform))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        forks, *contenders = map(int, process.stdout.readline().split())
        assert sorted(descendants(process.pid)) == sorted([forks, *contenders])
        # All are stopped until the last one has its turn. A stop that is on its way when the others end is one of
        # which the system tells nobody.
        while all_stopped(contenders[-1]):
            time.sleep(0.01)
        if both:
            # So that it does not see that the other is gone.
            os.kill(forks, signal.SIGSTOP)
        process.kill()
        if both:
            os.kill(forks, signal.SIGKILL)
    assert gone([forks, *contenders])
