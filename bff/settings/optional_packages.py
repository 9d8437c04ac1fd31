"""Packages that a setting needs, and that not every installation has."""

import importlib.util
from collections.abc import Iterator
from typing import Final

from bff.settings.model import TelemetrySettings
from bff.settings.problem import Finding

OPENTELEMETRY: Final = "opentelemetry.sdk"
ADVICE: Final = "pip install 'bff-session-proxy[otel]'"


def installed(package: str) -> bool:
    """Returns True if a package can be imported, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def check_packages(settings: TelemetrySettings) -> Iterator[Finding]:
    """Findings about settings whose packages are not installed."""
    if settings.opentelemetry == "on" and not installed(OPENTELEMETRY):
        yield Finding("telemetry.opentelemetry", 'is "on", and its packages are not installed', ADVICE)
