"""One forwarded call: session, token, request, answer."""
