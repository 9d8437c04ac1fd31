"""The verifier's fetches."""

import pytest

from bff.verify.fetch import Fetcher, FetchError
from tests.support.providers.provider import ServedProvider


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_proxy_variables_are_not_followed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A variable that was set for another purpose sends no fetch elsewhere, unless that is asked for."""
    for other in ("NO_PROXY", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    provider = ServedProvider()
    provider.serve()
    fetcher, told = Fetcher(), Fetcher(trust_env=True)
    try:
        url = f"{provider.base}/.well-known/openid-configuration"
        assert provider.base == (await fetcher.get(url))["issuer"]
        with pytest.raises(FetchError):
            await told.get(url)
    finally:
        await fetcher.close()
        await told.close()
        provider.stop()
