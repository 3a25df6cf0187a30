"""SQL, and nothing else: one module a table family, its functions composed inside one unit of work."""
