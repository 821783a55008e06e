"""Tests against numbers obtained by running the reference implementation; see recipe.py."""
