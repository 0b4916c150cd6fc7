"""Columns turned into features: one file per kind of column, and the encoder that puts them side by side."""
