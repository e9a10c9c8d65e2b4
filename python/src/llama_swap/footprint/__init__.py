"""What a model needs: its command line read, its files measured, llama.cpp asked, and what was seen remembered."""
