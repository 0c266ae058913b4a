"""Images and labels: data sets by name, folder, archive or CSV; splits; one `Preprocess`; batch augmentation."""

from nas_edge.data.dataset import Dataset, Split
from nas_edge.data.loading import load_dataset
from nas_edge.data.preprocess import Preprocess

__all__ = ["Dataset", "Preprocess", "Split", "load_dataset"]
