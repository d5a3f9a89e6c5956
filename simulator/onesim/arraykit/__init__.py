"""The array kit: a storage array's command line or HTTP API, recorded in the lab and answered from the recording in CI."""
