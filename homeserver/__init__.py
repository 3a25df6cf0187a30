"""A Matrix homeserver: the whole specification, in a codebase whose layout is the specification's own."""
