"""Students in and out: published files, Hugging Face folders, safetensors."""
