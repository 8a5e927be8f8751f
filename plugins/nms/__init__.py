"""BatchedNms: the best boxes of each picture, those that overlap a better one left out."""
