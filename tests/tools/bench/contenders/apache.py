"""Apache with mod_auth_openidc, its sessions in Redis: what people take who want this done in C.

The provider's endpoints stand in its configuration: with discovery it is slower by a third. It takes none but
https there, so an nginx ends TLS before the issuer for it; that is asked at sign-in only.
"""

import secrets
from pathlib import Path

from tests.support.network.tls import self_signed
from tests.tools.bench.contenders.base import Contender
from tests.tools.bench.environment import Ground, cookies_of_sign_in, start_nginx
from tests.tools.bench.programs import find, lasting_port, listens, start

_TLS = """
daemon off; worker_processes 1; pid {folder}/issuer-tls.pid; error_log {folder}/issuer-tls.error.log error;
events {{ worker_connections 64; }}
http {{
  access_log off;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    location / {{ proxy_pass {issuer}; proxy_set_header Origin {issuer}; proxy_set_header Host $proxy_host; }}
  }}
}}
"""
_MODULES = (
    "mpm_event",
    "authn_core",
    "authz_core",
    "authz_user",
    "headers",
    "proxy",
    "proxy_http",
    "auth_openidc",
)
_CONFIGURATION = """
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
ListenBacklog 2048
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.error.log
LogLevel error
DefaultRuntimeDir {folder}
Mutex pthread
{modules}
StartServers 2
ServerLimit 4
ThreadsPerChild 128
ThreadLimit 128
MaxRequestWorkers 512
MaxConnectionsPerChild 0
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 75

OIDCProviderIssuer {issuer}
OIDCProviderAuthorizationEndpoint {endpoints}/authorize
OIDCProviderTokenEndpoint {endpoints}/token
OIDCProviderTokenEndpointAuth client_secret_basic
OIDCProviderJwksUri {endpoints}/jwks
OIDCClientID {client_id}
OIDCClientSecret {client_secret}
OIDCRedirectURI {redirect_uri}
OIDCCryptoPassphrase {passphrase}
OIDCScope "openid profile offline_access"
OIDCPKCEMethod S256
OIDCSSLValidateServer Off
OIDCCookieSameSite On
OIDCSessionType server-cache
OIDCSessionInactivityTimeout 3600
OIDCCacheType redis
OIDCRedisCacheServer 127.0.0.1:{redis_port}
OIDCPassClaimsAs environment

<Location />
  AuthType openid-connect
  Require valid-user
  RequestHeader set Authorization "Bearer %{{OIDC_access_token}}e"
  RequestHeader unset Cookie
</Location>
ProxyPass /api http://127.0.0.1:{backend}/api keepalive=On
"""


def modules_folder() -> Path | None:
    """The folder of Apache's modules, mod_auth_openidc among them."""
    for pattern in ("lib*/apache2/modules", "lib*/httpd/modules", "libexec/apache2"):
        for folder in Path("/usr").glob(pattern):
            if (folder / "mod_auth_openidc.so").exists():
                return folder
    return None


class Apache(Contender):
    """The event MPM with as many threads as the load has connections."""

    name = "apache-oidc"
    what = "Apache with mod_auth_openidc, sessions in Redis"

    @property
    def redirect_uri(self) -> str:
        return f"http://localhost:{self.port}/oidc"

    def missing(self) -> str | None:
        if find("apache2") is None and find("httpd") is None:
            return "apache2"
        return None if modules_folder() else "mod_auth_openidc (libapache2-mod-auth-openidc)"

    def start(self, ground: Ground) -> None:
        binary, folder = find("apache2") or find("httpd"), modules_folder()
        assert binary is not None
        assert folder is not None
        files = [(name, folder / f"mod_{name}.so") for name in (*_MODULES, "unixd")]
        configuration = ground.folder / "apache.conf"
        issuer = ground.issuer
        configuration.write_text(
            _CONFIGURATION.format(
                folder=ground.folder,
                port=self.port,
                modules="\n".join(
                    f"LoadModule {name}_module {file}" for name, file in files if file.exists()
                ),
                issuer=issuer.url,
                endpoints=f"https://localhost:{self._start_tls(ground)}",
                client_id=issuer.client_id,
                client_secret=issuer.client_secret,
                redirect_uri=self.redirect_uri,
                passphrase=secrets.token_urlsafe(24),
                redis_port=ground.redis.port,
                backend=ground.backend_port,
            )
        )
        self.program = ground.keep(
            start(
                self.name,
                [binary, "-DFOREGROUND", "-f", str(configuration)],
                folder=ground.folder,
                cores=ground.cores.contender,
                ready=lambda: listens(self.port),
            )
        )

    def _start_tls(self, ground: Ground) -> int:
        """Ends TLS before the issuer; returns the port."""
        port, certificate = lasting_port(), self_signed(ground.folder)
        file = ground.folder / "issuer-tls.conf"
        file.write_text(
            _TLS.format(
                folder=ground.folder,
                port=port,
                certificate=certificate.cert,
                key=certificate.key,
                issuer=ground.issuer.url,
            )
        )
        start_nginx(ground, "issuer-tls", file, port, ground.cores.rest)
        return port

    def sign_in(self) -> dict[str, str]:
        return {"Cookie": cookies_of_sign_in(self.port, "/api/json")}
