"""What records do not show: values behind commitments, and secrets that are gone for good."""
