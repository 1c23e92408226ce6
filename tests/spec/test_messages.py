"""What a user is refused with is one sentence, and stands in messages.txt, to be read beside the others."""

from __future__ import annotations

import re

import pytest

from tests.spec import refusals


@pytest.fixture(scope="module")
def said():
    return refusals.collect()


def test_messages_are_those_that_were_read(said):
    """After a change: python -m tests.spec.refusals, and read what is another."""
    assert said.splitlines() == refusals.FILE.read_text().splitlines()


def test_each_is_one_sentence_and_the_status_of_a_wrong_request(said):
    requests = refusals.REQUESTS.strip().splitlines()
    blocks = said.split("$ ")[1:]
    assert len(blocks) == len(requests)
    for request, block in zip(requests, blocks, strict=True):
        assert re.fullmatch(rf"{re.escape(request)}\n2: isogru: [^\n]+\n\n?", block), block


def test_every_command_that_can_be_asked_wrongly_is_there():
    """Those that take no file and no name have nothing to be wrong, and those that run a framework are in its tests."""
    requests = [request.replace("frameworks torch ", "frameworks ") for request in refusals.REQUESTS.splitlines()]
    asked = {tuple(request.split()[:2]) for request in requests}
    nothing_wrong = {"cells", "cases", "layouts", "schema", "exercises", "list", "work", "memory", "enter", "contend"}
    of_framework = {"prove", "train", "errata", "bench"}
    for name, app in refusals.APPS.items():
        for command in app.registered_commands:
            if command.name not in nothing_wrong | of_framework:
                assert (name, command.name) in asked
