"""Tables of other projects, converted into ours: one file a format."""
