"""Files and folders that the settings name: secrets, the page's folder, certificates, the audit file.

Rule 1: the text of a secret file is never part of a message.
Rule 2: a file of secrets or of trusted certificates that every user of the machine may write is refused: such
a user could put a key there, and make cookies, records and certificates that the proxy accepts.
"""

import errno
import os
import ssl
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from bff.settings.bounded_read import PATIENCE, read_bounded
from bff.settings.frontend_check import judged
from bff.settings.model import Settings
from bff.settings.optional_packages import check_packages
from bff.settings.outgoing_proxy import ENVIRONMENT, OutgoingProxy
from bff.settings.problem import Finding, SettingProblem
from bff.settings.redis_urls import redis_tls_files
from bff.settings.url_check import proxy_complaint

LISTS = frozenset({"keys", "secrets"})
"""The settings whose secret file holds several values, one a line."""

_MAX_SECRET_BYTES = 64 * 1024
_MAX_CERTIFICATES = 16 * 1024 * 1024  # bytes: all that are trusted anywhere have less than 1 MiB
WRITABLE = "names a file that every user of this machine may write"
_CA_FIX = "name a file with CA certificates in PEM form"


class _UnreadableError(Exception):
    """A secret file that cannot be used; its two arguments are the message and the fix."""


@dataclass
class SecretFiles:
    """Reads secret files, and collects the problems with them."""

    problems: list[SettingProblem] = field(default_factory=list)
    warnings: list[SettingProblem] = field(default_factory=list)
    patience: float = PATIENCE
    """The seconds that a pipe may take."""

    def read_text(self, key: str, path: Path) -> str | None:
        """The text of a secret file without the line break at its end; `None` after a problem."""
        source = f"secret file {path}"
        try:
            text, mode = _read(path, self.patience)
        except _UnreadableError as error:
            message, fix = error.args
            self.problems.append(SettingProblem(key, message, fix, source))
            return None
        if mode & stat.S_IWOTH:
            self.problems.append(SettingProblem(key, WRITABLE, f"chmod o-w {path}", source))
            return None
        if mode & stat.S_IROTH:
            message = "names a file that every user of this machine may read"
            self.warnings.append(SettingProblem(key, message, f"chmod o-r {path}", source))
        return text

    def read_keys(self, key: str, path: Path) -> list[str] | None:
        """The keys in a file, one a line or separated by commas; lines that begin with `#` are notes."""
        text = self.read_text(key, path)
        if text is None:
            return None
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        return [part.strip() for line in lines for part in line.split(",") if part.strip()]


def _read(path: Path, patience: float) -> tuple[str, int]:
    """The text and the mode of a secret file."""
    try:
        raw, state = read_bounded(path, _MAX_SECRET_BYTES, patience)
        text = raw.decode("utf-8").rstrip("\r\n")
    except FileNotFoundError:
        fix = f"create it, or correct the path{_start(path)}"
        raise _UnreadableError("names a file that does not exist", fix) from None
    except PermissionError:
        raise _UnreadableError(
            "names a file that this user may not read", "change its owner or mode"
        ) from None
    except OSError as error:
        reason = error.strerror or "an error"
        raise _UnreadableError(f"names a file that cannot be read: {reason}", "correct the path") from None
    except UnicodeDecodeError:
        raise _UnreadableError("names a file that is not UTF-8 text", "write the secret as text") from None
    if not text.strip():
        raise _UnreadableError("names a file that is empty", "write the secret into it")
    return text, state.st_mode


def _start(path: Path) -> str:
    """The folder that a relative path starts from, which is not the one of the settings' file."""
    return "" if path.is_absolute() else f": it starts from the working directory, {Path.cwd()}"


def check_files(settings: Settings) -> Iterator[Finding]:
    """Findings about the page's folder, CA bundles, client certificates, the audit file and packages."""
    return judged(settings, _check_files)


def _check_files(settings: Settings) -> Iterator[Finding]:
    """Checks the files that the settings of a single provider and page name."""
    folder, index = settings.spa.dir, settings.spa.index
    if folder is not None and not folder.is_dir():
        fix = f"build the page first, or correct the path{_start(folder)}"
        yield Finding("spa.dir", f"names no folder: {folder}", fix)
    elif folder is not None and not (folder / index).is_file():
        yield Finding(
            "spa.dir",
            f"names a folder without {index}: {folder}",
            "build the page first, correct the path, or set spa.index",
            needs=("spa.index",),
        )
    if isinstance(settings.log.audit, Path):
        yield from _audit_file(settings.log.audit)
    yield from check_packages(settings.telemetry)
    yield from _redis(redis_tls_files(settings.redis.url.get_secret_value()))
    yield from _bundle("provider.ca_file", settings.provider.ca_file)
    yield from _environment_proxies(settings.provider.proxy)
    own = settings.provider
    if own.client_cert_file is not None:
        names = ("provider.client_cert_file", "provider.client_cert_key_file")
        yield from _client_certificate(names, own.client_cert_file, own.client_cert_key_file)
    for number, route in enumerate(settings.route):
        at = f"route[{number}]"
        yield from _bundle(f"{at}.ca_file", route.ca_file)
        if route.client_cert_file is not None:
            names = (f"{at}.client_cert_file", f"{at}.client_key_file")
            yield from _client_certificate(names, route.client_cert_file, route.client_key_file)


def _redis(files: Mapping[str, Path]) -> Iterator[Finding]:
    """Findings about the files that `redis.url` names; the URL may hold a password, and is not repeated."""
    key = "redis.url"
    yield from _bundle(key, files.get("ca"))
    cert = files.get("cert")
    try:
        if any(_mode(path) & stat.S_IWOTH for path in files.values()):
            yield Finding(key, WRITABLE, "take the right to write from others (chmod o-w)")
        if cert is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, files.get("key"), password=str)
    except OSError:
        fix = "see ssl_certfile and ssl_keyfile: PEM files, the key without a passphrase"
        yield Finding(key, "names no certificate with its key", fix)


def _environment_proxies(setting: SecretStr | None) -> Iterator[Finding]:
    if setting is None or setting.get_secret_value() != ENVIRONMENT:
        return
    proxies = OutgoingProxy.choose(setting, os.environ).proxies
    if broken := [scheme for scheme, url in proxies.items() if proxy_complaint(url) is not None]:
        yield Finding(
            "provider.proxy",
            f"takes a proxy from the environment that is no http or https URL (for {', '.join(broken)})",
            f"correct {', '.join(f'{scheme.upper()}_PROXY' for scheme in broken)}, or name the proxy here",
        )


def _client_certificate(names: tuple[str, str], cert: Path, key: Path | None) -> Iterator[Finding]:
    for name, path in zip(names, (cert, key), strict=True):
        try:
            mode = 0 if path is None else _mode(path)
        except OSError as error:
            yield Finding(name, f"cannot be read ({error.strerror}): {path}", "correct the path")
            return
        if mode & stat.S_IWOTH:
            yield Finding(name, WRITABLE, f"chmod o-w {path}")
            return
        if path == (key or cert) and mode & stat.S_IROTH:
            message = "names a key that every user of this machine may read"
            yield Finding(name, message, f"chmod o-r {path}", warning=True)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password=str)
    except OSError:
        message = f"holds no certificate with its key: {cert}"
        fix = f"name a PEM file whose key is in it or in {names[1].rpartition('.')[2]}, without a passphrase"
        yield Finding(names[0], message, fix, names[1:])


def _mode(path: Path) -> int:
    """Returns the mode of a file of certificates.

    Raises:
        OSError: it cannot be read; a pipe, a device or a huge file, which OpenSSL might never end to read.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    if state.st_size > _MAX_CERTIFICATES:
        raise OSError(errno.EFBIG, f"it has more than {_MAX_CERTIFICATES // 1024} KiB", str(path))
    return state.st_mode


def _audit_file(path: Path) -> Iterator[Finding]:
    key = "log.audit"
    if len(path.parts) == 1:
        fix = 'write "stderr", "syslog", or a path with its folder, like "/var/log/bff/audit.jsonl"'
        yield Finding(key, f"names neither a stream nor a folder: {path}", fix)
    elif not path.parent.is_dir():
        yield Finding(key, f"names a file in no folder: {path}", "make the folder, or correct the path")
    elif path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        yield Finding(key, f"names a file that cannot be written: {path}", "let this user write there")


def _bundle(key: str, path: Path | None) -> Iterator[Finding]:
    if path is None:
        return
    try:
        mode = _mode(path)
        ssl.create_default_context(cafile=path)
        if mode & stat.S_IWOTH:
            yield Finding(key, WRITABLE, f"chmod o-w {path}")
    except ssl.SSLError:
        yield Finding(key, f"holds no certificates: {path}", _CA_FIX)
    except OSError as error:
        yield Finding(key, f"cannot be read ({error.strerror}): {path}", _CA_FIX)
