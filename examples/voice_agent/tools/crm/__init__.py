"""Where customers are looked up."""
