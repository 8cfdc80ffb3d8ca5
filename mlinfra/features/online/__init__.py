"""The online half of the feature store: the newest row of each entity, read in microseconds."""
