"""What the token endpoint and its neighbours can do: the grants and endpoints, registered with the engine."""

from bff.issuer.accounts import Accounts
from bff.issuer.authorization_request import PushedAuthorization
from bff.issuer.client_auth import PrivateKeyJwt
from bff.issuer.client_keys import ClientKeys
from bff.issuer.code_grant import CodeGrant, IdToken, S256Only
from bff.issuer.endings import Endings
from bff.issuer.exchange_grant import ExchangeGrant
from bff.issuer.introspection import Introspection
from bff.issuer.protocol import ProtocolServer
from bff.issuer.refresh_grant import RefreshGrant
from bff.issuer.revocation import Revocation
from bff.issuer.settings import IssuerSettings
from bff.issuer.store import Store
from bff.issuer.tokens import Minter


def create_server(
    settings: IssuerSettings,
    store: Store,
    accounts: Accounts,
    minter: Minter,
    *,
    endings: Endings,
    client_keys: ClientKeys,
) -> ProtocolServer:
    """Builds the engine with all that it can do."""
    server = ProtocolServer(settings, store, accounts, minter, endings)
    here = frozenset(f"{settings.url}{path}" for path in ("", "/token", "/par", "/revoke", "/introspect"))
    by_key = PrivateKeyJwt(store.database, client_keys, here)
    server.register_client_auth_method("private_key_jwt", by_key)
    server.register_grant(CodeGrant, [S256Only(), IdToken()])
    server.register_grant(RefreshGrant)
    server.register_grant(ExchangeGrant)
    server.register_endpoint(Revocation)
    server.register_endpoint(Introspection)
    server.register_endpoint(PushedAuthorization)
    return server
