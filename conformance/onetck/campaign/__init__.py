"""Campaigns: a matrix of drivers, contracts, cases and seeds, run on this machine or on a cluster, one row each in a store that others read."""
