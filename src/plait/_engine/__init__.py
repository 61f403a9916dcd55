"""The only room that owns an event loop: carries out the scheduler's commands and tells it what happened."""
