"""What the pages tell people to type exists, and every link leads somewhere."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import click
import pytest

from engine import app
from engine.configuration import resolve

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"(?:`|^\s*)warmstart ([a-z]+)([^`\n#]*)", re.MULTILINE)
SETTING = re.compile(r"`((?:gate|retention|stream\.contract)\.[a-z_]+)[=`.]")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pages
def test_every_command_is_a_verb_with_these_options(page: Path) -> None:
    for verb, rest in COMMAND.findall(page.read_text()):
        assert verb in app.cli.commands, f"warmstart {verb}"
        command = app.cli.commands[verb]
        if isinstance(command, click.Group):
            command = command.commands[rest.split()[0]]
        known = {name for option in command.params if isinstance(option, click.Option) for name in option.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, f"warmstart {verb}{rest}"


@pages
def test_every_setting_of_the_gate_of_retention_and_of_the_contract_is_one(page: Path) -> None:
    config = resolve(["stream=flights"])
    for setting in SETTING.findall(page.read_text()):
        *groups, name = setting.split(".")
        assert name in functools.reduce(lambda node, group: node[group], groups, config), setting


@pages
def test_every_test_that_is_named_exists(page: Path) -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for name in re.findall(r"`(test_[a-z0-9_]+)`", page.read_text()):
        assert f"def {name}(" in tests, name


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        measured = target == "benchmarks/results"  # written by `make bench`
        assert measured or (page.parent / target).exists(), target
