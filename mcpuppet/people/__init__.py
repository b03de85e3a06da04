"""What people do, with a token: decide, review, edit, disclose, and look after users and keys."""
