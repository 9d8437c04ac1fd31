"""The output of `bff issuer users`: accounts and sign-ins, as tables for people and JSON for programs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.table import Table

from bff.command_line import table_console, table_of
from bff.issuer.accounts.accounts import Account
from bff.issuer.store.sign_in_sessions import Standing
from bff.observe.redact import one_line


def facts(account: Account, standing: Sequence[Standing]) -> dict[str, Any]:
    """An account with its sign-ins, for programs."""
    return {
        "sub": account.sub,
        "email": account.email,
        "name": account.name,
        "roles": account.roles,
        "tenant": account.tenant,
        "created": _time(account.created),
        "suspended": None if account.suspended is None else _time(account.suspended),
        "unusable": account.unusable,
        "sign_ins": [
            {
                "sid": one.sid,
                "since": _time(one.auth_time),
                "address": one.device.address,
                "user_agent": one.device.user_agent,
                "clients": one.clients,
            }
            for one in standing
        ],
    }


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def overview(found: Sequence[tuple[Account, list[Standing]]]) -> tuple[Table, list[tuple[str, ...]]]:
    """Accounts, one a row."""
    table = _plain("address", "name", "roles", "tenant", "state", "signed in", "sub")
    rows: list[tuple[str, ...]] = []
    for one, standing in found:
        state = "active" if one.suspended is None else f"suspended {_time(one.suspended)[:10]}"
        if one.unusable:
            state = f"unusable: {', '.join(one.unusable)}"
        times = {0: "", 1: "once"}.get(len(standing), f"{len(standing)} times")
        rows.append((one.email, one.name, " ".join(one.roles), one.tenant, state, times, one.sub))
    return table, rows


def show_one(account: Account, standing: list[Standing]) -> None:
    """Prints an account, and below it each of its sign-ins."""
    print_table(*overview([(account, standing)]))
    if not standing:
        return
    typer.echo()
    rows: list[tuple[str, ...]] = [
        (one.sid, _time(one.auth_time), one.device.address, " ".join(one.clients), one.device.user_agent)
        for one in standing
    ]
    print_table(_plain("sid", "since", "address", "clients", "browser"), rows)


def _plain(*headings: str) -> Table:
    return table_of(*headings, whole="sid")


def print_table(table: Table, rows: Sequence[tuple[str, ...]]) -> None:
    """Prints text; foreign text in it (a browser's name) cannot control the terminal."""
    for row in rows:
        table.add_row(*(one_line(text) for text in row))
    table_console(markup=False).print(table)
