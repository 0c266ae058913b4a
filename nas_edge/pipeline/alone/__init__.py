"""Networks trained without a supernet: one of them, and a study of what a supernet's weights are worth beside them."""
