"""The project's own source as the structure tests read it."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bff"


def module_name(path: Path) -> str:
    """`bff/session/store.py` as `bff.session.store`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Every module of the package."""
    return {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def imports(name: str) -> frozenset[str]:
    """Everything that a module imports, as dotted names; a module of ours by its own name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            home = _package(name, node.level) + node.module
            for alias in node.names:
                whole = f"{home}.{alias.name}"
                found.add(whole if whole in modules() else home)
    return frozenset(found)


def _package(name: str, level: int) -> str:
    """The package that a relative import begins at, with its dot; nothing for an absolute one."""
    if level == 0:
        return ""
    parts = name.split(".")
    inner = level - 1 if modules()[name].name == "__init__.py" else level
    return ".".join(parts[: len(parts) - inner]) + "."


def own_imports(name: str) -> set[str]:
    """Those of them that are ours."""
    return {imported for imported in imports(name) if imported in modules()}
