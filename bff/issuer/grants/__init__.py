"""The issuer's grants on authlib's server engine: clients, their authentication, the tokens they get."""
