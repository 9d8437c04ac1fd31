"""The backend's side of the wire: connections, requests, answers."""
