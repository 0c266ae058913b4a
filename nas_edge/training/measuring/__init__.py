"""What networks answer: accuracy of subnets, which of them are measured, zero-cost proxies."""
