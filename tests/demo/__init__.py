"""Tests of scripts/demo and scripts/bench."""
