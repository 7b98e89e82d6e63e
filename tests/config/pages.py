"""The examples of a page in docs/: its curl commands are run, its answers compared."""

import re
import shlex
from argparse import ArgumentParser
from string import Template
from typing import Any

from rest_framework.test import APIClient

from tests.processes import ROOT

API = "/api/v1"


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def blocks(text: str, *languages: str) -> list[str]:
    """The blocks of code, in order, whose language is one of these."""
    return [
        code
        for language, code in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
        if language in languages
    ]


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(text: str) -> list[list[str]]:
    """The rows of a section's first table, without its head; code without its backticks."""
    rows = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
    return [[cell.strip("`") for cell in row.split(" | ")] for row in rows[2:]]


def curl(client: APIClient, command: str, **variables: str) -> Any:
    """Send what a curl command would; the variables of the shell are given."""
    options = ArgumentParser()
    options.add_argument("url")
    options.add_argument("-X", dest="method")
    options.add_argument("-H", dest="headers", action="append", default=[])
    options.add_argument("-d", dest="data")
    line = command.replace("\\\n", " ")
    program, *words = shlex.split(Template(line).substitute(variables, API=API))
    assert program == "curl"
    asked = options.parse_args(words)
    headers = dict(line.split(": ", 1) for line in asked.headers)
    return client.generic(
        asked.method or ("POST" if asked.data else "GET"),
        asked.url,
        asked.data or "",
        content_type=headers.pop("Content-Type", "application/octet-stream"),
        headers=headers,
    )


def fits(said: Any, got: Any) -> bool:
    """Whether an answer has what the page says of it, where … stands for anything."""
    if isinstance(said, dict):
        return isinstance(got, dict) and all(
            name in got and fits(value, got[name]) for name, value in said.items()
        )
    if isinstance(said, list):
        return (
            isinstance(got, list)
            and len(said) == len(got)
            and all(fits(*pair) for pair in zip(said, got, strict=True))
        )
    if isinstance(said, str) and "…" in said:
        pattern = ".*".join(map(re.escape, said.split("…")))
        return isinstance(got, str) and re.fullmatch(pattern, got) is not None
    return bool(said == got)
