"""The session proxy within an application of your own: mount it, and use its sessions.

    from bff.library import BFF, load_settings

    bff = BFF(load_settings("bff.toml"))
    bff.install(app)                      # a FastAPI or Starlette application

`bff.current_user(request)`, `bff.require_session` and `bff.token_for(request)` are for the application's own
endpoints; the settings' routes are forwarded as by `bff serve`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from bff.hooks import Call, NotAllowed, SessionEnd, SignIn
from bff.library.errors import BffError, answer_bff_error
from bff.library.mounted import BFF
from bff.library.placement import MountError
from bff.library.session_access import User
from bff.settings.load import load
from bff.settings.model import Settings
from bff.settings.problem import SettingsError

__all__ = [
    "BFF",
    "BffError",
    "Call",
    "MountError",
    "NotAllowed",
    "SessionEnd",
    "Settings",
    "SettingsError",
    "SignIn",
    "User",
    "answer_bff_error",
    "load_settings",
]


def load_settings(file: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings from a TOML file and `BFF_…` variables, as `bff serve` does.

    Args:
        file: the file; None for the one that `BFF_CONFIG` names, else `bff.toml` if it is there.
        environ: the variables.

    Raises:
        SettingsError: with every problem there is.
    """
    return load(None if file is None else Path(file), environ)
