"""The use cases: each loads what it needs, lets core decide, stores, and notifies."""
