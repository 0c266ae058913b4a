"""Where the rooms meet: one flow a command, run directories, targets, pipelines."""
