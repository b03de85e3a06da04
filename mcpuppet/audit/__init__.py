"""What can be shown: records, their chain, verification, monitoring and reports."""
