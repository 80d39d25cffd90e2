"""What a dataset holds, measured: statistics as JSON, and one page for people."""
