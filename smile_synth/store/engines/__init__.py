"""Who renders the shards: processes of this machine, or a Ray cluster."""
