"""What a backend service uses to check an access token."""
