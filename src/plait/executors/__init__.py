"""Make calls happen and report: each knows its way of running code, none knows who listens."""
