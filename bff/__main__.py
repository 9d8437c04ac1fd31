"""`python3 -m bff` is the command `bff`."""

from bff.cli import main

if __name__ == "__main__":
    main()
