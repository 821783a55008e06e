"""The .proto files, and the command that generates the stubs from them."""
