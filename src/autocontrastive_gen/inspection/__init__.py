"""Looking inside a model: what every layer says."""
