"""A worker that dies before its first take, as one with a broken image does."""

raise SystemExit("cannot load the model")
