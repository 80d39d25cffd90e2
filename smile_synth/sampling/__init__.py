"""What generators sample with: motion, paths, cameras, backgrounds; ``sample_*`` chooses, ``draw_*`` paints pixels."""
