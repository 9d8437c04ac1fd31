"""`config/systemd/bff.service`, looked at by systemd itself where it is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.structure.source import ROOT

UNIT = ROOT / "config" / "systemd" / "bff.service"


def test_a_reload_is_the_signal_for_new_workers() -> None:
    """SIGUSR2 rereads everything and lets successors take over."""
    lines = UNIT.read_text().splitlines()
    assert "ExecReload=/bin/kill -USR2 $MAINPID" in lines
    assert {
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
    } <= set(lines)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    """No unknown option, and little exposure by its own scale (0 to 10)."""
    unit = tmp_path / "bff.service"
    unit.write_text(UNIT.read_text().replace("/opt/bff/bin/bff", "/bin/true"))
    verify = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "bff.service" not in verify.stderr
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=25", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == judged.returncode, judged.stdout[-500:] + judged.stderr
