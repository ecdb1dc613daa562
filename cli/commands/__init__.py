"""The commands: each reads its arguments, calls one folder of muser, and has the result printed."""
