"""The command isogru: is it the same function? Verdicts on results, functions and weights."""

from __future__ import annotations

from isogru import command, explain_command, judge_command
from isogru.models import command as models
from isogru.models import layers_command
from isogru.pack import command as pack_command
from isogru.suites import command as suites_command
from shared_spec import __main__ as specification
from shared_spec.command import application
from shared_spec.command import main as command_line

app = application(
    "The referee: are two GRUs the same function? Exit status: 0 equal or done, 1 something is not equal, 2 the "
    "request was wrong, 3 it could not be judged."
)
for name, function in (
    ("check", command.check_function),
    ("judge", judge_command.judge_program),
    ("verdict", command.give_verdict),
    ("explain", explain_command.explain_result),
    ("layers", layers_command.list_layers),
    ("same", models.compare_weights),
    ("convert", models.convert_weights),
    ("layouts", specification.list_layouts),
    ("cells", specification.list_cells),
    ("cases", specification.list_cases),
    ("case", command.write_case),
    ("suites", suites_command.judge_suites),
    ("pack", pack_command.golden_pack),
):
    app.command(name)(function)


def main() -> None:
    """The entry point of the installed command."""
    command_line(lambda: app(prog_name="isogru"))


if __name__ == "__main__":
    main()
