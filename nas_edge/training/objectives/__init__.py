"""What a step minimises: sandwich, progressive shrinking, teachers and divergences."""
