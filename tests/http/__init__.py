"""Tests of the HTTP framework."""
