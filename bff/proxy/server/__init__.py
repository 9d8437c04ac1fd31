"""The client's side of the wire: HTTP/1.1 as browsers and reverse proxies send it."""
