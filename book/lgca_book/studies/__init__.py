"""What the pages compute: frames and records in, frames out. Nothing here draws."""
