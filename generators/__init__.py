"""The bundled generators: one file a family, written against the public contract only."""
