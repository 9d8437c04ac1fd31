"""The forwarding of WebSockets: the upgrade, then messages both ways."""
