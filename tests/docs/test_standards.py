"""The page of the standards: each row names a test that there is, and that shows the row's promises."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache

import pytest

from tests.docs.pages import page
from tests.structure.source import ROOT

ROWS = [line for line in page("explanation/standards.md").splitlines() if re.match(r"\| [0-9]", line)]


def marked(expressions: Iterable[ast.expr]) -> Iterator[str]:
    """The promises that marks name, of a function or of a module."""
    for expression in expressions:
        for each in ast.walk(expression):
            if isinstance(each, ast.Call) and ast.unparse(each.func) == "pytest.mark.requirement":
                yield from (str(ast.literal_eval(argument)) for argument in each.args)


@cache
def shown_by(file: str, name: str) -> set[str]:
    """The promises that a test shows; raises where there is none of that name."""
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    whole = [
        each.value
        for each in body
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "pytestmark"
    ]
    (test,) = [
        each
        for each in body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == name
    ]
    return set(marked([*whole, *test.decorator_list]))


def test_the_page_has_rows() -> None:
    """They are found by their form."""
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip() for row in ROWS])
def test_a_row_is_shown_by_its_test(row: str) -> None:
    """The test exists, and is marked with one of the row's promises at least."""
    *_, promises, named, _ = (cell.strip() for cell in row.split("|"))
    file, _, name = named.strip("`").partition("::")
    assert shown_by(file, name) & set(promises.split(", "))
