"""A Django backend in one file: `gunicorn django_orders:app`, with ISSUER and AUDIENCE in the environment."""

import os

from bff_verify import BlockingVerifier, TokenVerifier
from bff_verify.django import bearer_required
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"])

verifier = BlockingVerifier(
    lambda: TokenVerifier(
        issuer=os.environ["ISSUER"], audience=os.environ["AUDIENCE"], ca_file=os.environ.get("CA_FILE")
    )
)


@bearer_required(verifier)
def orders(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"user": request.claims.sub})


@bearer_required(verifier, scope={"reports"})
def reports(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"user": request.claims.sub})


urlpatterns = [path("orders", orders), path("reports", reports)]
app = get_wsgi_application()
