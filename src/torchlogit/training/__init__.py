"""Training: settings and labelled rows in, a `Fitted` out; the estimator and the command line are two faces of it."""
