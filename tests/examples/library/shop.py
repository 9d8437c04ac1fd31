"""A FastAPI application with the session proxy inside: sign-in, its own endpoint, and a forwarded API.

BFF_CONFIG=bff.toml uvicorn --factory shop:create_app
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse

from bff.library import BFF, Settings, User, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Makes the application; without settings they are read as `bff serve` reads them."""
    bff = BFF(settings or load_settings())
    app = FastAPI()

    @app.get("/", response_class=HTMLResponse)
    async def page(request: Request) -> str:
        user = await bff.current_user(request)
        return "<a href='/bff/login'>Sign in</a>" if user is None else f"<p>Hello {user.sub}</p>"

    @app.get("/me")
    async def me(user: Annotated[User, Depends(bff.require_session)]) -> dict[str, str]:
        return {"sub": user.sub, "name": str(user.claims.get("name", ""))}

    bff.install(app)  # behind the application's own routes
    return app
