"""The command line: one file a command, which parses, calls one flow and prints."""
