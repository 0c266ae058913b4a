"""Tables: measured, found, shown, checked."""
