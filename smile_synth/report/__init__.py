"""What a data set holds, measured: statistics as JSON, and one page for people."""
