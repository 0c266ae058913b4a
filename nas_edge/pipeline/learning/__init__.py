"""From images to a bundle: what a training begins with, learns from, and measures."""
