"""Everything that times: files to logits, ways to run the encoder, resampling, class matrices, growth, memory."""
