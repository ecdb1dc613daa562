"""The commands: each reads its arguments, calls one folder of muser, and prints the result."""
