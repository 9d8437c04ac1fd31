"""The registration of all grants and token endpoints with the engine."""

from bff.issuer.accounts.accounts import Accounts
from bff.issuer.endpoints.authorization_request import PushedAuthorization
from bff.issuer.endpoints.introspection import Introspection
from bff.issuer.endpoints.revocation import Revocation
from bff.issuer.grants.client_auth import PrivateKeyJwt
from bff.issuer.grants.client_credentials import ClientCredentialsGrant
from bff.issuer.grants.client_keys import ClientKeys
from bff.issuer.grants.code import CodeGrant, IdToken, S256Only
from bff.issuer.grants.engine import ProtocolServer
from bff.issuer.grants.refresh import RefreshGrant
from bff.issuer.grants.request_objects import RequestObjects
from bff.issuer.grants.token_exchange import ExchangeGrant
from bff.issuer.grants.tokens import Minter
from bff.issuer.logout.termination import Termination
from bff.issuer.settings import IssuerSettings
from bff.issuer.store.store import Store


def create_server(
    settings: IssuerSettings,
    store: Store,
    accounts: Accounts,
    minter: Minter,
    *,
    termination: Termination,
    client_keys: ClientKeys,
) -> ProtocolServer:
    """Builds the engine with all its grants and endpoints."""
    server = ProtocolServer(
        settings,
        store,
        accounts,
        minter,
        termination=termination,
        request_objects=RequestObjects(settings.url, client_keys),
    )
    here = frozenset(f"{settings.url}{path}" for path in ("", "/token", "/par", "/revoke", "/introspect"))
    by_key = PrivateKeyJwt(store.redis, client_keys, here)
    server.register_client_auth_method("private_key_jwt", by_key)
    server.register_grant(CodeGrant, [S256Only(), IdToken()])
    server.register_grant(RefreshGrant)
    server.register_grant(ExchangeGrant)
    server.register_grant(ClientCredentialsGrant)
    server.register_endpoint(Revocation)
    server.register_endpoint(Introspection)
    server.register_endpoint(PushedAuthorization)
    return server
