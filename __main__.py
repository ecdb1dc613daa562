"""`python -m muser`."""

from .cli.app import main

main()
