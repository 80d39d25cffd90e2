"""Fine-tuning and testing on labelled videos."""
