"""What is written of the program's log and of single requests, off the way of requests."""
