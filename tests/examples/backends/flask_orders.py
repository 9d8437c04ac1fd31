"""A Flask backend: `gunicorn flask_orders:app`, with ISSUER and AUDIENCE in the environment."""

import os

from bff_verify import BlockingVerifier, TokenVerifier
from bff_verify.flask import bearer_required
from flask import Flask, g

verifier = BlockingVerifier(
    lambda: TokenVerifier(
        issuer=os.environ["ISSUER"], audience=os.environ["AUDIENCE"], ca_file=os.environ.get("CA_FILE")
    )
)
app = Flask(__name__)


@app.get("/orders")
@bearer_required(verifier)
def orders() -> dict[str, str]:
    return {"user": g.claims.sub}


@app.get("/reports")
@bearer_required(verifier, scope={"reports"})
def reports() -> dict[str, str]:
    return {"user": g.claims.sub}
