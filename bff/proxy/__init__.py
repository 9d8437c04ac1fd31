"""The data path: from a browser's request to a backend and back."""
