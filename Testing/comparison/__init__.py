"""The same training for different networks: what each reaches, after how many steps and in how much time."""
