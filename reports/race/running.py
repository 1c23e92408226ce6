"""A race is run by the harness of the frameworks, in a process of its own: this package knows no framework."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from shared_spec import processes
from shared_spec.command import INTERRUPTED, UNJUDGED, WRONG, last_words
from shared_spec.race.definition import Race

COMMAND = (sys.executable, "-m", "frameworks.harness.race")


def run(race: Race, *, is_new: bool, corpus: Path | None, corpus_sha1: str | None) -> int:
    """Run a race, or what is left of one; its exit status. What ends this process ends the race too, in good order."""
    request = {"race": asdict(race), "is_new": is_new, "corpus": corpus and str(corpus), "corpus_sha1": corpus_sha1}
    # In a session of its own it does not get the user's Ctrl-C by itself, but once, from here.
    environment = processes.for_child(os.environ)
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:

        def end(number: int, frame: FrameType | None) -> None:
            process.send_signal(signal.SIGINT)

        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            process.communicate(json.dumps(request) + "\n")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if process.returncode == -signal.SIGINT:
        # Before it was ready to end in good order; there is nothing to keep yet.
        return INTERRUPTED
    if process.returncode not in (0, WRONG, INTERRUPTED):
        words = last_words(process.returncode, ())
        print(f"isogru: the race {words}; go on with python -m reports race --resume {race.name}", file=sys.stderr)
        return UNJUDGED
    return process.returncode
