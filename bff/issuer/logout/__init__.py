"""The end of sign-ins, and the notification of clients."""
