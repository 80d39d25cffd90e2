"""Pictures and videos, read and written."""
