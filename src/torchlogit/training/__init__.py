"""Training: turns settings and labelled rows into a `Fitted`. Both the estimator and the command line call it."""
