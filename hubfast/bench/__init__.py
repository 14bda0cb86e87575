"""What `hubfast bench` and `hubfast demo` run."""
