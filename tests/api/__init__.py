"""Transcripts: what a client sends and what it gets back."""
