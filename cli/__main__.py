"""`python -m muser.cli`."""

from .app import main

main()
