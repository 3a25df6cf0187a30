"""The rules of Matrix, as pure functions: no await, no clock, no randomness, no IO."""
