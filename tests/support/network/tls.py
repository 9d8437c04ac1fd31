"""Certificates for tests, and the contexts of both sides."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bff.upstream.connector import TlsNames, client_tls


class Certificate(NamedTuple):
    """The paths of a certificate, which also serves as its own authority, and of its key."""

    cert: Path
    key: Path


def self_signed(folder: Path, name: str = "localhost") -> Certificate:
    """Makes a certificate for a name and 127.0.0.1, good for an hour, in a folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / f"{name}.cert.pem", folder / f"{name}.key.pem")
    made.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(_pem(key, serialization.NoEncryption()))
    return made


def encrypted_key(certificate: Certificate) -> Path:
    """Writes the key again, behind a passphrase, in a file of its own."""
    key = serialization.load_pem_private_key(certificate.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    path = certificate.key.with_suffix(".locked")
    path.write_bytes(_pem(key, serialization.BestAvailableEncryption(b"passphrase")))
    path.chmod(0o600)
    return path


def server_tls(
    certificate: Certificate, seen: list[str | None] | None = None, clients: Certificate | None = None
) -> ssl.SSLContext:
    """A server's side; `seen` collects the names that clients ask for, `clients` is whom it asks to show."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    if seen is not None:
        context.sni_callback = lambda _socket, name, _context: seen.append(name)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.cert)
    return context


def trusting(certificate: Certificate, client: Certificate | None = None) -> ssl.SSLContext:
    """A client's side that trusts one authority, and may show a certificate of its own."""
    own = (None, None) if client is None else client
    return client_tls(TlsNames(certificate.cert, *own))


def _pem(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@contextlib.asynccontextmanager
async def certificates_shown(
    server: Certificate, *clients: Certificate
) -> AsyncIterator[tuple[str, list[bytes | None]]]:
    """A server that answers `{}` to each of these clients; its URL, and what was shown to it, in DER."""
    shown: list[bytes | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        shown.append(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    context = server_tls(server, clients=clients[0])
    for client in clients[1:]:
        context.load_verify_locations(client.cert)
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
        yield f"https://localhost:{listening.sockets[0].getsockname()[1]}/", shown


def in_der(certificate: Certificate) -> bytes:
    """The certificate as it is shown in a handshake."""
    return ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())
