"""From codes and notes to explained image-level labels."""
