"""Processes and sockets: how the app is served."""
