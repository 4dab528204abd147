"""The commands, by theme: parse, call a plain function, print."""
