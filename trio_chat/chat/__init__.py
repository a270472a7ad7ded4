"""A room's numbers, its members, the pace of input. Plain objects; `now` is passed in."""
