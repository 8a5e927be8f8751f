"""The command line: parse, call, report. The library lives in `engine` and `export`."""
