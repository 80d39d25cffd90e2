"""What the commands do, as functions: render, train, probe and report. The command line goes through these, too."""
