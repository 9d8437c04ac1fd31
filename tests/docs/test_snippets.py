"""Every block of code in the documentation is run by a test, checked by its language, or says why not."""

import ast
import importlib
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from typer.main import get_command

from bff.cli.root import app
from bff.cli.sessions.app import app as sessions_app
from bff.demo.cli import app as demo_app
from bff.issuer.cli.main import app as issuer_app
from bff.issuer.settings import IssuerSettings
from bff.settings.load import arranged
from bff.settings.model import Settings
from tests.docs.snippets import OUTPUT, PAGES, Snippet, snippets
from tests.node.packages import installed
from tests.npm.workshop import HERE as NPM
from tests.structure.source import ROOT

LEAST = {
    "server": {"public_url": "https://app.example.com"},
    "provider": {"issuer": "https://i", "client_id": "c"},
}
"""What a piece of a settings file leaves out."""
HELPERS = frozenset({"cd", "cp", "echo", "cat", "chmod", "mkdir", "export"})
"""Commands of the system's that a block may have beside those of bff."""
HELD_ELSEWHERE = {
    "nginx": "nginx.conf", "caddyfile": "Caddyfile", "haproxy": "haproxy.cfg"
}  # fmt: skip
OWN_GROUPS = {"sessions": sessions_app, "demo": demo_app, "issuer": issuer_app}
"""Groups of commands that `bff` imports when they are run."""
INCLUDE = re.compile(r"^--\s*8.*$", re.MULTILINE)
"""A line that puts a file in; also one that a formatter has taken for Python."""
SCRIPTS = {"js": "js", "mjs": "js", "ts": "ts", "tsx": "tsx", "jsx": "jsx"}
_TRANSFORM = """
const { transformSync } = require("esbuild");
const failed = [];
for (const { name, loader, text } of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
  try { transformSync(text, { loader, format: "esm" }); }
  catch (error) { failed.push(`${name}: ${error.message}`); }
}
console.log(JSON.stringify(failed));
"""
_IMPORT = re.compile(r'import \{([^}]*)\} from "@bff/client(?:/(\w+))?"')
_EXPORT = re.compile(r"^export (?:declare )?(?:function|class|const|interface|type) (\w+)", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|&&|\|\||[;|(])\s*((?:[A-Z_]+=\S+ +)*)([^\s;|&()<>]+)")


def of_kind(*kinds: str) -> list[Snippet]:
    """The blocks of some languages that are held by nothing else."""
    held = {each for each in snippets() if each.reason or each.run_by or INCLUDE.search(each.text)}
    return [each for each in snippets() if each.kind in kinds and each not in held]


def by_place(snippet: object) -> str:
    return str(snippet)


@pytest.mark.parametrize("snippet", snippets(), ids=by_place)
def test_each_is_held_by_something(snippet: Snippet) -> None:
    """A language that is checked here, a test that runs it, or a reason."""
    checked = {*RULES, *SCRIPTS}
    assert snippet.kind in checked or snippet.run_by or snippet.reason, (
        "write <!-- not run by a test: the reason --> in front of it"
    )
    assert not snippet.reason or len(snippet.reason) > len("it needs it")


@pytest.mark.parametrize("path", sorted({each.run_by for each in snippets() if each.run_by}))
def test_the_test_that_runs_a_page_reads_it(path: str) -> None:
    """It names the page in its own text."""
    text = (ROOT / path).read_text(encoding="utf-8")
    pages = {each.page for each in snippets() if each.run_by == path}
    assert all(Path(page).name in text for page in pages)


@pytest.mark.parametrize("snippet", [each for each in snippets() if INCLUDE.search(each.text)], ids=by_place)
def test_what_is_put_in_is_there(snippet: Snippet) -> None:
    """A whole file of the tests' or of `config`, which a test runs."""
    for line in INCLUDE.findall(snippet.text):
        named = re.fullmatch(r'--8<-- "((?:tests|config)/[\w./-]+)"', line)
        assert named, line
        assert (ROOT / named[1]).is_file()


def settings_are_accepted(snippet: Snippet) -> None:
    """The model of the proxy's settings takes them, or the issuer's."""
    piece = tomllib.loads(snippet.text)
    whole = dict(piece)
    for name, section in LEAST.items():
        if not isinstance(piece.get(name), list):
            whole[name] = {**section, **piece.get(name, {})}
    if problems := mistakes(Settings, arranged(whole)):
        assert "clients" in piece or "audience" in piece, problems
        assert [] == mistakes(IssuerSettings, piece)


def mistakes(model: Any, values: Mapping[str, Any]) -> list[str]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        return [f"{each['loc']}: {each['msg']}" for each in error.errors()]
    return []


def json_is_json(snippet: Snippet) -> None:
    """One document, or one a line."""
    try:
        json.loads(snippet.text)
    except json.JSONDecodeError:
        for line in snippet.text.splitlines():
            json.loads(line)


def yaml_is_yaml(snippet: Snippet) -> None:
    """All its documents."""
    assert all(document is not None for document in yaml.safe_load_all(snippet.text))


def python_imports_what_there_is(snippet: Snippet) -> None:
    """Modules that can be imported, and names that they have; `bff_verify` is `bff.verify`."""
    tree = ast.parse(snippet.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(re.sub(r"^bff_verify\b", "bff.verify", node.module))
            assert set() == {alias.name for alias in node.names if not hasattr(module, alias.name)}


def test_scripts_are_scripts() -> None:
    """What esbuild takes: TypeScript and JSX included; one Node for all."""
    pieces = [
        {"name": str(each), "loader": SCRIPTS[each.kind], "text": each.text} for each in of_kind(*SCRIPTS)
    ]
    assert pieces
    done = subprocess.run(
        ["node", "-e", _TRANSFORM],
        cwd=installed(NPM),
        input=json.dumps(pieces),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert [] == json.loads(done.stdout)


@pytest.mark.parametrize("snippet", of_kind(*SCRIPTS), ids=by_place)
def test_what_is_imported_of_the_client_is_there(snippet: Snippet) -> None:
    """By the types of `@bff/client` and of its parts."""
    for names, part in _IMPORT.findall(snippet.text):
        types = ROOT / "bff" / "web" / "client" / f"{part or 'client'}.d.ts"
        exported = set(_EXPORT.findall(types.read_text(encoding="utf-8")))
        assert set() == {name.strip().removeprefix("type ") for name in names.split(",")} - exported - {""}


def server_settings_are_those_of_config(snippet: Snippet) -> None:
    """Each line stands in the file of `config` that the tests start the server with."""
    file = (ROOT / "config" / HELD_ELSEWHERE[snippet.kind]).read_text(encoding="utf-8")
    known = {line.strip() for line in file.splitlines()}
    lines = {line.partition(" #")[0].strip() for line in snippet.text.splitlines()}
    assert set() == {line for line in lines - known if line and not line.startswith("#")}


def commands_exist(snippet: Snippet) -> None:
    """Each command of bff exists, with its options; others need a test or a reason."""
    shell = snippet.kind == "sh"
    lines = snippet.text.replace("\\\n", " ").splitlines()
    for line in lines if shell else [line[2:] for line in lines if line.startswith("$ ")]:
        words = shlex.split(line, comments=True)
        names = {Path(name).name for _, name in _COMMAND.findall(code(line))}
        assert set() == names - HELPERS - {"bff"}, "run it in a test, or say why not"
        for command in commands(words):
            check(command)


def code(line: str) -> str:
    """A command line without its comment and what stands in quotes."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "x", line).partition(" #")[0]


def commands(words: list[str]) -> Iterator[list[str]]:
    """The commands of bff in a line, each with its arguments."""
    current: list[str] | None = None
    for word in words:
        if word in {"&&", "||", "|", ";", ">", "<"}:
            if current is not None:
                yield current
            current = None
        elif Path(word).name == "bff" and current is None:
            current = []
        elif current is not None:
            current.append(word)
    if current is not None:
        yield current


def check(arguments: list[str]) -> None:
    """A command with these arguments exists, and has the options."""
    rest = list(arguments)
    group = OWN_GROUPS.get(rest[0]) if rest else None
    command: Any = get_command(group or app)
    rest = rest[1:] if group else rest
    while rest and hasattr(command, "commands") and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    assert not (rest and hasattr(command, "commands") and not rest[0].startswith("-")), arguments
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"}
    assert set() == used - known - {"--help"}, arguments


RULES: Mapping[str, Callable[[Snippet], None]] = {
    "toml": settings_are_accepted,
    "json": json_is_json,
    "yaml": yaml_is_yaml,
    "python": python_imports_what_there_is,
    "sh": commands_exist,
    **dict.fromkeys(HELD_ELSEWHERE, server_settings_are_those_of_config),
    **dict.fromkeys(OUTPUT, commands_exist),
}


@pytest.mark.parametrize("snippet", of_kind(*RULES), ids=by_place)
def test_each_keeps_the_rule_of_its_language(snippet: Snippet) -> None:
    """Settings, commands, imports and documents are such as there are."""
    RULES[snippet.kind](snippet)


def test_all_pages_are_walked() -> None:
    """None is left out, and a block that nobody closes is found."""
    assert len(snippets()) > 60
    for path in PAGES:
        fences = re.findall(r"^[ ]*```", path.read_text(encoding="utf-8"), re.MULTILINE)
        name = path.relative_to(ROOT).as_posix().removeprefix(".github/docs/")
        assert len(fences) == 2 * len([each for each in snippets() if each.page == name]), path


OURS_BY_NAME = re.compile(r"pip install[^\n]*(?<![\w./-])bff-(?:session-proxy|verify)\b")


def test_no_block_asks_an_index_for_our_packages() -> None:
    """The project is installed out of a clone; an index that has no such name may get a stranger's."""
    assert OURS_BY_NAME.search("sudo pip install bff-session-proxy")
    assert [] == [str(each) for each in snippets() if OURS_BY_NAME.search(each.text)]


BAD = [
    ("toml", "[sever]\nport = 1\n"),
    ("json", "{"),
    ("yaml", "a: [1\n"),
    ("python", "from bff_verify import Nothing\n"),
    ("sh", "bff sreve\n"),
    ("sh", "bff serve --wrokers 2\n"),
    ("sh", "kubectl apply -f x\n"),
    ("", "$ bff keys ratote\n"),
    ("nginx", "proxy_pass http://nowhere;\n"),
]


@pytest.mark.parametrize(("kind", "text"), BAD)
def test_a_mistake_is_found(kind: str, text: str) -> None:
    """No rule passes everything."""
    with pytest.raises((AssertionError, ValueError, ImportError, yaml.YAMLError)):
        RULES[kind](Snippet("x.md", "", 1, kind, "", text))
