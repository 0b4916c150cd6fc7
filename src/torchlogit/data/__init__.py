"""Tables: files read into Arrow, and columns turned into features."""
