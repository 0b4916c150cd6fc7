"""Bytes turned into blocks of Arrow columns: files, folders, pipes and queries, one file per format."""
