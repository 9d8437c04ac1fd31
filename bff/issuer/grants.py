"""What the token endpoint and its neighbours can do: the grants and endpoints, registered with the engine."""

from bff.issuer.accounts import Accounts
from bff.issuer.code_grant import CodeGrant, IdToken, S256Only
from bff.issuer.endings import Endings
from bff.issuer.protocol import ProtocolServer
from bff.issuer.refresh_grant import RefreshGrant
from bff.issuer.revocation import Revocation
from bff.issuer.settings import IssuerSettings
from bff.issuer.store import Store
from bff.issuer.tokens import Minter


def create_server(
    settings: IssuerSettings, store: Store, accounts: Accounts, minter: Minter, endings: Endings
) -> ProtocolServer:
    """Builds the engine with all that it can do."""
    server = ProtocolServer(settings, store, accounts, minter, endings)
    server.register_grant(CodeGrant, [S256Only(), IdToken()])
    server.register_grant(RefreshGrant)
    server.register_endpoint(Revocation)
    return server
