"""The work of OpenTelemetry in a process: on or off, by setting and environment; its start and its end.

Rule 1: nothing of OpenTelemetry is imported where it is off.
Rule 2: the setting says whether; where to, how much and by which names is said by the `OTEL_*` variables,
as for every other program.
"""

import importlib
from collections.abc import Mapping
from typing import Any, Final, Literal

from bff.observe.logs import get_logger
from bff.observe.metrics import Metrics
from bff.observe.tracing import Place, Spans
from bff.settings.model import TelemetrySettings
from bff.settings.optional_packages import ADVICE, OPENTELEMETRY, installed

_ASKS: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
)
"""Variables that say where to: with "auto" one of them turns OpenTelemetry on."""

_log = get_logger("bff.telemetry")


class Telemetry:
    """OpenTelemetry where it is off. `spans` are made where it is on."""

    spans: Spans | None = None

    def start(self) -> None:
        """Begins to export metrics, on the running loop."""

    async def aclose(self) -> None:
        """Exports what is left, for a moment."""


def verdict(
    wanted: Literal["auto", "on", "off"], environ: Mapping[str, str], *, there: bool
) -> Literal["on", "off", "missing"]:
    """Returns "missing" where it is asked for, and the packages are not there."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    asked = any(environ.get(name, "").strip().lower() not in {"", "none"} for name in _ASKS)
    if wanted == "off" or disabled or (wanted == "auto" and not asked):
        return "off"
    return "on" if there else "missing"


def telemetry_of(
    settings: TelemetrySettings, environ: Mapping[str, str], metrics: Metrics, own: Place
) -> Telemetry:
    """The telemetry of a process; `own` is where browsers find it."""
    match verdict(settings.opentelemetry, environ, there=installed(OPENTELEMETRY)):
        case "off":
            return Telemetry()
        case "missing":
            _log.warning("opentelemetry_missing", detail=f"it is asked for, and not installed: {ADVICE}")
            return Telemetry()
        case "on":
            maker: Any = importlib.import_module("bff.observe.otel_setup")
            made: Telemetry = maker.telemetry(environ, metrics, own)
            return made
