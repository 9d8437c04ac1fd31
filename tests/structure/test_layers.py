"""The layers of the architecture, held against the imports."""

import pytest

from tests.structure.source import imports, modules, own_imports

ROWS = [
    ["bff.allowed_bytes", "bff.errors"],
    [
        "bff.settings",
        "bff.observe",
        "bff.open_streams",
        "bff.tasks",
        "bff.child",
        "bff.sighup",
        "bff.embedded",
        "bff.command_line",
    ],
    [
        "bff.client_address_cache",
        "bff.crypto",
        "bff.hooks",
        "bff.policy",
        "bff.problems",
        "bff.request_ids",
        "bff.verify.jwk",
    ],
    ["bff.session"],
    ["bff.oidc"],
    ["bff.refresh"],
    ["bff.credentials", "bff.limits", "bff.upstream"],
    ["bff.proxy"],
    ["bff.web"],
    [
        "bff.app",
        "bff.endpoints",
        "bff.frontend",
        "bff.frontend_builder",
        "bff.frontend_rules",
        "bff.frontends",
        "bff.live_settings",
        "bff.provider_clients",
        "bff.shared_parts",
    ],
    ["bff.library", "bff.serve"],
    ["bff.cli", "bff.__main__"],
]
ASIDE = ["bff.issuer", "bff.verify", "bff.demo"]
SHARED_WITH_ASIDE = 3  # rows 0 to 2 are vocabulary; above them provider and client could share a bug

PURE = [
    "bff.allowed_bytes",
    "bff.errors",
    "bff.problems",
    "bff.policy",
    "bff.session.page_events",
    "bff.session.cluster.slots",
    "bff.session.operator_view",
    "bff.session.lifetime",
    "bff.session.minted_claims",
    "bff.session.model",
    "bff.session.sentinel_votes",
    "bff.session.rotation_policy",
    "bff.settings.client_key",
    "bff.oidc.requests",
    "bff.oidc.metadata",
    "bff.oidc.token_response",
    "bff.oidc.id_token",
    "bff.oidc.logout_token",
    "bff.oidc.security_event",
    "bff.oidc.signed_event",
    "bff.upstream.address_order",
    "bff.proxy.forward.response_templates",
    "bff.proxy.server.header_line_cache",
    "bff.proxy.server.proxy_lines",
    "bff.proxy.server.plain_request",
    "bff.proxy.server.request_parser",
    "bff.upstream.response_parser",
    "bff.upstream.stale_connection",
    "bff.serve.check_result",
    "bff.serve.provider_capabilities",
    "bff.serve.provider_demands",
    "bff.settings.fapi2",
    "bff.verify.claims",
    "bff.verify.confirmation",
    "bff.verify.dpop",
    "bff.verify.http_url",
    "bff.verify.jws",
    "bff.verify.jwk",
]
IMPURE_IMPORTS = {
    "asyncio", "datetime", "httpx", "logging", "os", "random", "redis", "secrets", "socket", "ssl",
    "starlette", "structlog", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip


def row_of(name: str) -> int | None:
    """The row of a module; None for those aside and for the package itself."""
    for number, row in enumerate(ROWS):
        if any(name == part or name.startswith(part + ".") for part in row):
            return number
    return None


def is_verifier(name: str) -> bool:
    """Returns True for a part of the verifier, which stands alone: the proxy may check tokens with it."""
    return name == "bff.verify" or name.startswith("bff.verify.")


def is_aside(name: str) -> bool:
    return row_of(name) is None and any(name == part or name.startswith(part + ".") for part in ASIDE)


def test_every_module_has_a_place() -> None:
    """No file stands outside the layers."""
    homeless = {name for name in modules() if row_of(name) is None and not is_aside(name)}
    assert {"bff"} == homeless


def test_imports_point_downwards() -> None:
    """A module imports only from rows below its own, or from its own; the commands reach everything."""
    rows = {name: row for name in modules() if (row := row_of(name)) is not None}
    assert rows
    upwards = [
        f"{name} imports {other}"
        for name, row in rows.items()
        for other in own_imports(name)
        if (row_of(other) or 0) > row or (row < len(ROWS) - 1 and is_aside(other) and not is_verifier(other))
    ]
    assert [] == upwards


def test_provider_and_client_share_no_code() -> None:
    """Issuer, verifier and demo import nothing of the proxy beyond its vocabulary."""
    aside = [name for name in modules() if is_aside(name)]
    assert aside
    shared = [
        f"{name} imports {other}"
        for name in aside
        for other in own_imports(name)
        if (row_of(other) or 0) >= SHARED_WITH_ASIDE
    ]
    assert [] == shared


@pytest.mark.parametrize("name", [name for name in modules() if name.startswith("bff.verify")])
def test_the_verifier_stands_alone(name: str) -> None:
    """The distribution `bff-verify` holds these files under another name: imports among them are relative."""
    assert set() == {other for other in own_imports(name) if not other.startswith("bff.verify")}
    assert "from bff" not in modules()[name].read_text(encoding="utf-8").split('"""', 2)[-1]


def test_no_import_cycles() -> None:
    """The imports have an order."""
    left = {name: own_imports(name) - {name} for name in modules()}
    while left:
        free = {name for name, needed in left.items() if not needed & left.keys()}
        assert free, f"a cycle among {sorted(left)}"
        left = {name: needed for name, needed in left.items() if name not in free}


@pytest.mark.parametrize(
    "name", [name for name in modules() if any(name == p or name.startswith(p + ".") for p in PURE)]
)
def test_pure_modules_do_nothing(name: str) -> None:
    """Pure modules have no I/O, no clock, no randomness and no logging."""
    assert set() == {imported.partition(".")[0] for imported in imports(name)} & IMPURE_IMPORTS
    assert set() == {other for other in own_imports(name) if other.startswith("bff.observe")}


@pytest.mark.parametrize(
    ("library", "home"),
    [
        (
            "redis",
            {"bff.embedded", "bff.serve.redis_check"}
            | {
                f"bff.session.{name}"
                for name in (
                    "batch_reader",
                    "batch_script",
                    "cluster.batches",
                    "cluster.client",
                    "cluster.topology",
                    "end_reasons",
                    "hash_read",
                    "session_index",
                    "inventory",
                    "invalidation_feed",
                    "keyed_script",
                    "one_time_values",
                    "rate_counts",
                    "redis_clients",
                    "redis_condition",
                    "redis_connection",
                    "redis_errors",
                    "redis_locks",
                    "replication",
                    "sealed_tokens",
                    "sentinel_queries",
                    "store",
                    "client_tracking",
                )
            },
        ),
        ("httpx", {"bff.oidc.http", "bff.oidc.http_clients"}),
        ("itsdangerous", {"bff.crypto"}),
    ],
)
def test_a_library_has_one_home(library: str, home: set[str]) -> None:
    """A library that could be exchanged is used in one place."""
    users = {
        name
        for name in modules()
        if not is_aside(name) and any(imported.partition(".")[0] == library for imported in imports(name))
    }
    assert users <= home
    assert users
