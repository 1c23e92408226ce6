"""tox.ini as tox resolves it, as far as tests ask: the environments that it names, and what each says.

By hand, since tox takes a second to tell of an environment. It knows what tox.ini uses: braces in names, lines for
some factors alone, and values of another section; what stands in [testenv] for all is not looked at.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping

CONDITION = re.compile(r"(!?\w+(?:(?:-|, *)!?\w+)*): +(.*)")
REFERENCE = re.compile(r"\{\[(\w+)\](\w+)\}")


def environments(text: str) -> Mapping[str, Mapping[str, list[str]]]:
    """For each environment that has a section: its settings, each as the lines that are there for it."""
    ini = _read(text)
    sections = {name: ini[name] for name in ini.sections() if name.startswith("testenv:")}
    return {
        environment: {key: _lines(ini, value, environment) for key, value in section.items()}
        for name, section in sections.items()
        for environment in expanded(name.removeprefix("testenv:"))
    }


def env_list(text: str) -> list[str]:
    """What a bare `tox` runs, where no variable of the surroundings says more."""
    lines = [line for line in _read(text)["tox"]["env_list"].split() if not line.startswith("{env:")]
    return [name for line in lines for name in expanded(line)]


def expanded(name: str) -> list[str]:
    """`test-{torch,jax}` as test-torch and test-jax."""
    before, brace, rest = name.partition("{")
    if not brace:
        return [name]
    inner, _, after = rest.partition("}")
    return [f"{before}{choice.strip()}{end}" for choice in inner.split(",") for end in expanded(after)]


def _read(text: str) -> configparser.ConfigParser:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(text)
    return ini


def _lines(ini: configparser.ConfigParser, value: str, environment: str) -> list[str]:
    lines = []
    for line in filter(None, value.splitlines()):
        if condition := CONDITION.fullmatch(line):
            if not any(_holds(each, environment) for each in condition[1].split(",")):
                continue
            line = condition[2]
        lines.append(REFERENCE.sub(lambda key: "\n".join(_lines(ini, ini[key[1]][key[2]], environment)), line))
    return lines


def _holds(condition: str, environment: str) -> bool:
    """`torch-!cuda`: of the environment's factors one is torch and none is cuda."""
    factors = environment.split("-")
    return all((each.removeprefix("!") in factors) != each.startswith("!") for each in condition.strip().split("-"))
