"""The commands: read settings, call one folder, print. Nothing heavy is imported before a command needs it."""
