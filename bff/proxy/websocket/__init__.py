"""WebSockets: the upgrade, the backend's socket, the messages between them."""
