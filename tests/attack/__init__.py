"""The attack on the certificate: problems made to break it, each fit judged in exact arithmetic."""
