"""What the words mean: who may do what in which room. Plain objects; `now` is passed in."""
