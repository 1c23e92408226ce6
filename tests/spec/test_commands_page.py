"""docs/commands.md says what the help texts say."""

from __future__ import annotations

from docs import commands


def test_the_page_is_what_the_commands_say_now():
    """Made anew by python -m docs.commands."""
    assert commands.FILE.read_text() == commands.text()


def test_every_command_that_is_not_hidden_is_on_it():
    page = commands.text()
    for told in (
        "### isogru check FILE.py:NAME",
        "### python -m shared_spec run CASE",
        "### python -m reports race",
    ):
        assert told in page
    assert "### python -m frameworks FRAMEWORK prove" in page
    assert "FRAMEWORK work" not in page, "that one is hidden"
