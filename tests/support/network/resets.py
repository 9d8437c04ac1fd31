"""Connections that end with a reset, as those of a peer that has crashed."""

import asyncio
import socket
import struct


def reset_at_close(connection: socket.socket | asyncio.StreamWriter) -> None:
    """Makes the close of a connection a reset: what is unsent is lost, and the other side gets an error."""
    end = connection.get_extra_info("socket") if isinstance(connection, asyncio.StreamWriter) else connection
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def send_and_reset(port: int, data: bytes) -> None:
    """Sends this to a port of this machine, and resets the connection at once."""
    client = socket.create_connection(("127.0.0.1", port))
    reset_at_close(client)
    client.sendall(data)
    client.close()
