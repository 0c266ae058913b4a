"""What a run is worth, said afterwards: its figures with their origin, and the checklist of good practice."""
