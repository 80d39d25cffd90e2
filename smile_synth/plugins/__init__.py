"""Finding, describing, scaffolding and checking generators."""
