"""What a fine-tune is made of: its rows, the weights it starts from, the fit. `engine.train` puts them together."""
